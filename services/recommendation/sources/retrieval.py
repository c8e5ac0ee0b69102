"""What candidate generation finds."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from services.recommendation.filters import served_lately
from services.recommendation.guarded import Guarded
from services.recommendation.memory import Memory
from services.recommendation.slate import Pool
from services.recommendation.stages import Found, Lost, Wish
from shared.domain.conditions import ItemFilter
from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.domain.services import CandidateGeneration

MORE_AT_ONCE = 4
LARGEST_EXCLUSION = 20_000  # the contract's limit; what is beyond it is removed by this side's own filters


class RetrievalSource:
    """Candidate generation, which merges sources of its own."""

    name = "retrieve"

    def __init__(self, candidates: Guarded[CandidateGeneration], memory: Memory) -> None:
        self._candidates = candidates
        self._memory = memory

    async def find(self, wish: Wish, budget_ms: float) -> Found:
        """Its merged answer; the filters go along, so that quotas are filled with what may be shown.

        Whoever asks again gets more at once: a rule may block nearly everything.
        """
        query, viewer = wish.query, wish.viewer
        more = MORE_AT_ONCE if wish.beyond else 1
        request = RetrievalRequest(
            history=viewer.history,
            time_ms=query.time_ms,
            user=viewer.profile,
            quotas={name: more * quota for name, quota in query.configuration.surface.quotas.items()},
            filter=_with_exclusions(wish),
            seed=query.seed,
        )
        found = await retrieved(self._candidates, request, budget_ms)
        if not wish.beyond:  # else the best of them are left out
            self._memory.keep_neighbours(viewer.history, found.pool)
        return found


async def retrieved(candidates: Guarded[CandidateGeneration], request: RetrievalRequest, budget_ms: float) -> Found:
    """What candidate generation answers, checked.

    Raises:
        Lost: it failed, or its columns do not fit together.
    """
    result = await candidates.ask(lambda port: port.retrieve(request, budget_ms=budget_ms), budget_ms)
    _check(result)
    return Found(Pool(result.item_ids, result.sources), result.provenance)


def _with_exclusions(wish: Wish) -> ItemFilter:
    """The filter with everything that must not come back, what came already and the request's own exclusions first."""
    wanted, viewer = wish.query.filter, wish.viewer
    served = served_lately(wish.query, viewer)
    parts = (wish.beyond, wanted.exclude_item_ids, viewer.hidden, viewer.consumed, served)
    excluded = frozenset[str]().union(*parts)
    if len(excluded) > LARGEST_EXCLUSION:
        excluded = frozenset(list(dict.fromkeys(chain(*parts)))[:LARGEST_EXCLUSION])
    return replace(wanted, exclude_item_ids=excluded)


def _check(result: RetrievalResult) -> None:
    count = len(result.item_ids)
    if len(set(result.item_ids)) != count:
        raise Lost("invalid-answer", "candidate-generation gave an item twice")
    for hits in result.sources:
        fits = len(hits.rows) == len(hits.scores) and (
            not len(hits.rows) or 0 <= hits.rows.min() <= hits.rows.max() < count
        )
        if not fits:
            raise Lost(
                "invalid-answer", f"candidate-generation gave rows of {hits.source} that do not fit {count} items"
            )
