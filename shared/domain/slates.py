"""A served slate with everything that shaped it: what replay and training read, and never reconstruct."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shared.domain.history import History
from shared.domain.items import User
from shared.domain.provenance import Provenance
from shared.domain.ranking import Candidates, RequestContext
from shared.domain.retrieval import SourceHits

Rows = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Labels:
    """What selection goes by beyond creator and first category: label i stands on the candidates of `rows[i]`.

    Attributes:
        names: `category:…`, `tag:…`, `attribute:NAME=VALUE`, and `rule:NAME` for the business rules that matched.
        rows: as many arrays as names, int32 rows of the candidates, each not empty.
    """

    names: tuple[str, ...] = ()
    rows: tuple[Rows, ...] = ()

    def of(self, prefix: str) -> tuple[tuple[str, Rows], ...]:
        """The labels of one kind, their names without the prefix."""
        pairs = zip(self.names, self.rows, strict=True)
        return tuple((name[len(prefix) :], rows) for name, rows in pairs if name.startswith(prefix))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was known of the E under-exposed candidates that chance could choose from.

    Attributes:
        rows: (E,) int32 rows of the candidates, ascending.
        exposures: (E,) float32 decayed count of earlier slates that showed them.
        successes: (E,) float32 decayed count of consuming events.
    """

    rows: Rows = field(default_factory=lambda: np.empty(0, np.int32))
    exposures: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    successes: Floats = field(default_factory=lambda: np.empty(0, np.float32))

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True)
class ServedSlate:
    """One answer of `Recommend`. N candidates were ranked, S of them shown.

    Attributes:
        seed: of every random choice in the answer.
        candidates: as the ranker saw them.
        actions, probabilities: the ranker's columns and (N, A) float32 answer; A = 0 when no ranker answered.
        action_weights: (A,) that turned probabilities into `values`.
        values: (N,) float64 final value of each candidate.
        shown_rows: (S,) int32 rows of `candidates` in shown order.
        propensities: (S,) float32 probability with which each position got its item, given the entries above it.
        reserve_rows: rows in ranked order behind the shown ones: later pages are cut from them.
        first_position: 0 on the first page.
        labels: as far as the surface's rules went by them.
        evidence: empty where the surface leaves nothing to chance.
        arm: arm of the surface's experiment that shaped the slate; "" when there is none.
    """

    recommendation_id: str
    user_id: str
    session_id: str
    surface: str
    served_ms: int
    provenance: Provenance
    seed: int
    history: History
    user: User | None
    context: RequestContext
    candidates: Candidates
    sources: tuple[SourceHits, ...]
    actions: tuple[int, ...]
    action_weights: tuple[float, ...]
    probabilities: npt.NDArray[np.float32]
    values: npt.NDArray[np.float64]
    shown_rows: Rows
    propensities: Floats
    reserve_rows: Rows
    first_position: int = 0
    labels: Labels = field(default_factory=Labels)
    evidence: Evidence = field(default_factory=Evidence)
    arm: str = ""

    @property
    def shown_item_ids(self) -> tuple[str, ...]:
        """The items in shown order."""
        return tuple(self.candidates.item_ids[row] for row in self.shown_rows)
