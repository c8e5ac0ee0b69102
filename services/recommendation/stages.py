"""The stages' types, and the framework that counts, times and lists losses: components only do their work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

import numpy as np

from services.recommendation.budget import Budget
from services.recommendation.queries import Query
from services.recommendation.slate import Mask, Pool, Rows, Viewer
from shared.domain.provenance import Degradation, Provenance, StageCount, StageTiming
from shared.kernel.tracing import inner_span

T = TypeVar("T")


class Lost(Exception):  # noqa: N818 - it is raised where a stage is lost, which the request survives
    """A component could not do its work; the next rung of the ladder takes over.

    Attributes:
        reason: kebab-case, see `Degradation.reason`.
        detail: what happened, without a full stop.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


NOTHING_SAID = Provenance()


@dataclass(frozen=True, slots=True)
class Found:
    """What a source gave, with the versions and losses behind it."""

    pool: Pool
    provenance: Provenance = NOTHING_SAID


@dataclass(frozen=True, slots=True)
class Wish:
    """What a source is asked for.

    Attributes:
        beyond: what it gave already, or another source did, and what is not wanted again.
        places: the source's own notes on how far it has come in this request.
    """

    query: Query
    viewer: Viewer
    beyond: frozenset[str] = frozenset()
    places: dict[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Finds candidates. Raises `Lost` when it cannot."""

    name: str

    async def find(self, wish: Wish, budget_ms: float) -> Found:
        """Candidates, best first; nothing new when there are no others."""


@dataclass(frozen=True, slots=True)
class Split:
    """What a filter decided: together every row of the pool, each once, in the pool's order."""

    kept: Rows
    removed: Rows

    @classmethod
    def nothing_removed(cls, count: int) -> Split:
        """Every row stays."""
        return cls(np.arange(count, dtype=np.int32), np.empty(0, np.int32))

    @classmethod
    def by(cls, keep: Mask | Iterable[bool], count: int) -> Split:
        """A split by a truth value a row."""
        mask = keep if isinstance(keep, np.ndarray) else np.fromiter(keep, np.bool_, count)
        return cls(np.flatnonzero(mask).astype(np.int32), np.flatnonzero(~mask).astype(np.int32))


class Filter(Protocol):
    """Removes candidates that must not be shown."""

    name: str

    def split(self, query: Query, viewer: Viewer, pool: Pool) -> Split:
        """Which rows stay and which go."""


@dataclass(frozen=True, slots=True)
class Rung(Generic[T]):
    """One way to get a stage's result.

    Attributes:
        offers: what it gives, for the sentence that says what was used instead of the rung above.
    """

    offers: str
    attempt: Callable[[], Awaitable[T]]


class Journey:
    """What happened on the way to one answer.

    Args:
        budget: the time that the answer has.
        funnel_ids: also note which items each component added or removed.

    Attributes:
        budget: the time that the answer has.
        model_version, index_version, watermark: what had a part in it so far; "" = nothing had.
    """

    def __init__(self, budget: Budget, *, funnel_ids: bool = False) -> None:
        self.budget = budget
        self._began_s = budget.ticks()
        self._funnel_ids = funnel_ids
        self.model_version = ""
        self.index_version = ""
        self.watermark = ""
        self._degraded: dict[tuple[str, str], Degradation] = {}
        self._timings: dict[str, float] = {}
        self._counts: dict[str, StageCount] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time and trace what happens inside; rounds add up."""
        began_s = self.budget.ticks()
        try:
            with inner_span(name):
                yield
        finally:
            self._timings[name] = self.spent_ms(name) + (self.budget.ticks() - began_s) * 1e3

    @property
    def elapsed_ms(self) -> float:
        """The time since the journey began."""
        return (self.budget.ticks() - self._began_s) * 1e3

    def spent_ms(self, stage: str) -> float:
        """The time that a stage took so far."""
        return self._timings.get(stage, 0.0)

    def lose(self, stage: str, reason: str, detail: str) -> None:
        """List one loss of quality; the same loss of the same stage is listed once."""
        self._degraded.setdefault((stage, reason), Degradation(stage, reason, detail))

    async def descend(self, stage: str, *rungs: Rung[T]) -> T:
        """The result of the first rung that holds. The last one must hold; each broken one is listed."""
        for rung, below in pairwise(rungs):
            try:
                return await rung.attempt()
            except Lost as lost:
                self.lose(stage, lost.reason, f"{lost.detail}; used instead: {below.offers}")
        return await rungs[-1].attempt()

    async def ask(self, source: Source, wish: Wish, share: float) -> Pool:
        """What a source gives that is new; nothing, and a loss in the list, when it fails."""
        try:
            found = await source.find(wish, self.budget.share_ms(share))
        except Lost as lost:
            self.lose(source.name, lost.reason, f"{lost.detail}; its candidates are missing")
            return Pool()
        self.follow(found.provenance)
        new = found.pool.without(wish.beyond)
        self.add(new)
        return new

    def add(self, pool: Pool) -> None:
        """Note what each source of a pool gave."""
        for hits in pool.sources:
            ids = [pool.item_ids[row] for row in hits.rows.tolist()] if self._funnel_ids else ()
            self.count(f"source:{hits.source}", len(hits.rows), 0, ids)

    def follow(self, provenance: Provenance) -> None:
        """Take over what another service said about its own answer."""
        self.index_version = provenance.index_version or self.index_version
        for lost in provenance.degraded:
            self.lose(lost.stage, lost.reason, lost.detail)

    def filter(self, filters: Iterable[Filter], query: Query, viewer: Viewer, pool: Pool) -> Pool:
        """What every filter, in order, keeps."""
        for component in filters:
            split = component.split(query, viewer, pool)
            ids = [pool.item_ids[row] for row in split.removed.tolist()] if self._funnel_ids else ()
            self.count(f"filter:{component.name}", len(pool), len(split.removed), ids)
            pool = pool.take(split.kept) if len(split.removed) else pool
        return pool

    def cut(self, pool: Pool, kept: Rows) -> None:
        """Note what is not ranked."""
        left = np.ones(len(pool), np.bool_)
        left[kept] = False
        gone = np.flatnonzero(left)
        ids = [pool.item_ids[row] for row in gone.tolist()] if self._funnel_ids else ()
        self.count("cut", len(pool), len(gone), ids)

    def count(self, component: str, entered: int, removed: int, item_ids: Sequence[str] = ()) -> None:
        """Note how many candidates a component saw and removed, and which where that was asked for; rounds add up."""
        before = self._counts.get(component, StageCount(component, 0))
        self._counts[component] = StageCount(
            component, before.entered + entered, before.removed + removed, (*before.item_ids, *item_ids)
        )

    def provenance(self, config_version: str, request_id: str) -> Provenance:
        """The header of the answer as things stand."""
        return Provenance(
            model_version=self.model_version,
            index_version=self.index_version,
            config_version=config_version,
            watermark=self.watermark,
            degraded=tuple(self._degraded.values()),
            stage_timings=tuple(StageTiming(*timing) for timing in self._timings.items()),
            stage_counts=tuple(self._counts.values()),
            request_id=request_id,
        )
