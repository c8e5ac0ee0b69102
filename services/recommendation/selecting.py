"""The selection stage: what was ranked, in the order of all pages, with the inputs that a replay needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.recommendation import selection
from services.recommendation.exploring import explored, under_exposed
from services.recommendation.exposures import Exposures
from services.recommendation.labels import labels_of
from services.recommendation.queries import Query
from services.recommendation.ranking import Ranked
from services.recommendation.slate import Mask, Order, Pool, Scores
from services.recommendation.surface import Surface
from shared.domain.slates import Evidence, Labels, ServedSlate


@dataclass(frozen=True, slots=True)
class Selected:
    """The order, and what it went by beside the scores."""

    order: Order
    labels: Labels
    evidence: Evidence


class Selecting:
    """Applies a surface's rules, and then its chances."""

    def __init__(self, exposures: Exposures) -> None:
        self._exposures = exposures

    def selected(self, query: Query, pool: Pool, ranked: Ranked, seed: int) -> Selected:
        """The candidates in order. The caller's own candidates are ranked and never left to chance."""
        surface = query.configuration.surface
        labels = labels_of(pool, surface, query.time_ms)
        order = selection.order(ranked.candidates, ranked.scores, surface, query.page_size, labels)
        if not surface.exploration.slots or query.candidate_item_ids:
            return Selected(order, labels, Evidence())
        evidence = self._evidence(pool, ranked, order, surface)
        return Selected(explored(order, evidence, surface.exploration, query.page_size, seed), labels, evidence)

    def _evidence(self, pool: Pool, ranked: Ranked, order: Order, surface: Surface) -> Evidence:
        """What is known of the candidates that may fill a slot: nobody is shown what they would regret."""
        candidates = ranked.candidates
        successes = candidates.popularity if len(candidates.popularity) else np.zeros(len(candidates), np.float32)
        eligible = ~ranked.scores.sunk & (order.values >= 0)
        if surface.exploration.sources:
            eligible &= _of_sources(pool, surface.exploration.sources)
        return under_exposed(self._exposures.of(candidates.item_ids), successes, eligible, surface.exploration)


def _of_sources(pool: Pool, names: tuple[str, ...]) -> Mask:
    """(N,) what any of these sources gave."""
    given = np.zeros(len(pool), np.bool_)
    for hits in pool.sources:
        if hits.source in names:
            given[hits.rows] = True
    return given


def reselected(served: ServedSlate, scores: Scores, surface: Surface) -> Order:
    """The order of a recorded slate, from its recorded inputs."""
    shown = len(served.shown_rows)
    order = selection.order(served.candidates, scores, surface, shown, served.labels)
    return explored(order, served.evidence, surface.exploration, shown, served.seed)
