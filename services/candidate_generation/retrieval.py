"""The path of a retrieval, from a request to candidates: filter, ask the sources, merge, say where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.candidate_generation.asking import Asked, ask
from services.candidate_generation.catalogue_watch import CatalogueWatch
from services.candidate_generation.engine import Engine
from services.candidate_generation.filters import FilterMasks
from services.candidate_generation.merging import Merged, merged
from services.candidate_generation.query import Query, Source, SourceAnswer
from shared.domain.provenance import Degradation, Provenance, StageCount
from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.kernel.errors import ErrorReason, ServiceError

MOST_OF_A_SOURCE = 2000
"""A larger quota is coerced to this."""

_MERGE_MS = 2.0  # what is kept of the budget for merging and the way back


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many candidates of each source when the request does not say, and how long to wait for a source."""

    by_source: Mapping[str, int]
    source_timeout_ms: float


class Serving:
    """The one reference that a hot swap replaces."""

    def __init__(self) -> None:
        self.engine: Engine | None = None


class CandidateRetrieval:
    """Meets the port `CandidateGeneration` in process.

    Args:
        sources: in the order in which equal ranks are merged.
        catalogue_watch: the view of the catalogue and how fresh it is.
        serving: the bundle in use.
        quotas: the service's own.
    """

    def __init__(
        self, sources: Sequence[Source], catalogue_watch: CatalogueWatch, serving: Serving, quotas: Quotas
    ) -> None:
        self._sources = tuple(sources)
        self._watch = catalogue_watch
        self._catalogue = catalogue_watch.catalogue
        self._filters = FilterMasks(self._catalogue)
        self._serving = serving
        self._quotas = quotas

    async def retrieve(self, request: RetrievalRequest, *, budget_ms: float) -> RetrievalResult:
        """Candidates of every source, merged.

        Raises:
            ServiceError: NOT_READY while the first catalogue is read.
        """
        if not self._watch.ready:
            raise ServiceError(
                ErrorReason.NOT_READY,
                "the catalogue is being read for the first time; try again in a moment",
                metadata={"state": "reading the catalogue"},
            )
        engine = self._serving.engine
        query = Query(request, self._catalogue, self._filters.eligible(request.filter, request.time_ms), engine)
        wanted = request.quotas or self._quotas.by_source
        quotas = {name: min(count, MOST_OF_A_SOURCE) for name, count in wanted.items()}
        asked = await ask(self._sources, query, quotas, min(self._quotas.source_timeout_ms, budget_ms - _MERGE_MS))
        living = [(name, self._living(answer)) for name, answer in asked.answers]
        return self._result(merged(living), asked, engine, self._unknown(quotas))

    def _living(self, answer: SourceAnswer) -> SourceAnswer:
        """What was not deleted while the sources were asked."""
        alive = self._catalogue.alive[answer.slots]
        return answer if alive.all() else SourceAnswer(answer.slots[alive], answer.scores[alive], answer.degraded)

    def _unknown(self, quotas: Mapping[str, int]) -> tuple[Degradation, ...]:
        known = {source.name for source in self._sources}
        return tuple(
            Degradation(name, "unknown-source", f"there is no such source here; there are {', '.join(sorted(known))}")
            for name in quotas
            if name not in known
        )

    def _result(
        self, found: Merged, asked: Asked, engine: Engine | None, unknown: tuple[Degradation, ...]
    ) -> RetrievalResult:
        provenance = Provenance(
            model_version=engine.parts.version if engine else "",
            index_version=engine.index_version if engine else "",
            watermark=str(self._watch.watermark),
            degraded=(*self._watch.degraded(), *asked.degraded, *unknown),
            stage_timings=asked.timings,
            stage_counts=tuple(StageCount(f"source:{hits.source}", len(hits.rows)) for hits in found.hits),
        )
        return RetrievalResult(self._catalogue.item_ids(found.slots), found.hits, provenance)
