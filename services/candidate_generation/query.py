"""One request as the sources see it, and what a source is.

What several sources need (slots of the history, the user's vector, favourite categories) is computed once, on demand.

S slots, L events of history.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.candidate_generation.catalogue import Catalogue
from services.candidate_generation.engine import Engine
from services.candidate_generation.filters import Eligible
from services.candidate_generation.tastes import favourite_categories
from shared.domain.provenance import Degradation
from shared.domain.retrieval import RetrievalRequest

Slots = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SourceAnswer:
    """What one source found.

    Attributes:
        slots: (n,) eligible slots, each once, best first.
        scores: (n,) float32, comparable within this answer only.
        degraded: quality that the source lost although it answered.
    """

    slots: Slots
    scores: Floats
    degraded: tuple[Degradation, ...] = ()


NOTHING = SourceAnswer(np.empty(0, np.int64), np.empty(0, np.float32))


class Query:
    """A request with the catalogue and the bundle that it is answered from.

    Attributes:
        engine: the bundle; None before the first.
    """

    def __init__(
        self, request: RetrievalRequest, catalogue: Catalogue, eligible: Eligible, engine: Engine | None
    ) -> None:
        self.request = request
        self.catalogue = catalogue
        self.eligible = eligible
        self.engine = engine
        self._user_vector: asyncio.Task[Floats] | None = None

    @cached_property
    def history_slots(self) -> Slots:
        """(L,) slots of the history, `NOWHERE` for items that are not in the catalogue."""
        return self.catalogue.slots(self.request.history.item_ids)

    @cached_property
    def favourites(self) -> tuple[str, ...]:
        """The categories that the history and the profile speak for, strongest first."""
        return favourite_categories(self.catalogue, self.request, self.history_slots)

    def without_bundle(self, source: str, instead: str) -> SourceAnswer:
        """The empty answer of a source that needs a bundle."""
        return SourceAnswer(NOTHING.slots, NOTHING.scores, (Degradation(source, "no-bundle", instead),))

    async def user_vector(self, engine: Engine) -> Floats:
        """(1, D) the user as a vector; computed once for all sources."""
        if self._user_vector is None:
            asked = self.request
            self._user_vector = asyncio.create_task(engine.user_vector(asked.history, self.catalogue, asked.user))
        return await self._user_vector


class Source(Protocol):
    """One way to find candidates.

    A source that raises or is late is listed in the answer's `degraded`; the others go on without it.
    """

    @property
    def name(self) -> str:
        """As in quotas and answers, kebab-case."""

    def applies(self, query: Query) -> bool:
        """Whether the request gives the source anything to go by."""

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """At most `quota` eligible items, best first."""
