"""What candidate generation is asked and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shared.domain.conditions import EVERYTHING, ItemFilter
from shared.domain.history import History
from shared.domain.items import User
from shared.domain.provenance import Provenance


@dataclass(frozen=True, slots=True)
class RetrievalRequest:
    """Whom, what or which words to find candidates for.

    Attributes:
        quotas: candidates at most by source; empty: the service's own quotas. 0 switches a source off.
        seed_item_ids: items to be similar to (source `similar`).
        query_text: words to search for (source `search`).
        seed: of what is left to chance; 0: the same for a user, their latest item and a minute.
        time_ms: availability is judged at this moment.
    """

    history: History
    time_ms: int
    user: User | None = None
    quotas: dict[str, int] = field(default_factory=dict)
    filter: ItemFilter = EVERYTHING
    seed_item_ids: tuple[str, ...] = ()
    query_text: str = ""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SourceHits:
    """What one source gave, best first: position + 1 is the rank in the source.

    Attributes:
        rows: (n,) int32 rows of the answer's `item_ids`.
        scores: (n,) float32, comparable within the source only.
    """

    source: str
    rows: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class RetrievalResult:
    """The merged candidates, each once (best of each source first), and who gave what."""

    item_ids: tuple[str, ...]
    sources: tuple[SourceHits, ...]
    provenance: Provenance
