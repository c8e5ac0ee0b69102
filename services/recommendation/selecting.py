"""The selection stage: what was ranked, in the order of all pages, with the inputs that a replay needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.recommendation import selection
from services.recommendation.exploring import explored, under_exposed
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


def selected(query: Query, pool: Pool, ranked: Ranked) -> Selected:
    """A surface's rules, and then its chances. The caller's own candidates are ranked and never left to chance."""
    surface = query.configuration.surface
    labels = labels_of(pool, surface, query.time_ms)
    order = selection.order(ranked.candidates, ranked.scores, surface, query.page_size, labels)
    if not surface.exploration.slots or query.candidate_item_ids:
        return Selected(order, labels, Evidence())
    evidence = _evidence(pool, ranked, order, surface)
    return Selected(explored(order, evidence, surface.exploration, query.page_size, query.seed), labels, evidence)


def _evidence(pool: Pool, ranked: Ranked, order: Order, surface: Surface) -> Evidence:
    """What is known of the candidates that may fill a slot: nobody is shown what they would regret.

    An item of which the catalogue could not tell how often it was shown is not taken for one that was not.
    """
    known = np.array([state is not None for state in pool.states] or [False] * len(pool), np.bool_)
    exposures = np.array([state.exposures if state else 0.0 for state in pool.states] or [0.0] * len(pool), np.float32)
    successes = ranked.candidates.popularity if len(ranked.candidates.popularity) else np.zeros(len(pool), np.float32)
    eligible = known & ~ranked.scores.sunk & (order.values >= 0)
    if surface.exploration.sources:
        eligible &= _of_sources(pool, surface.exploration.sources)
    return under_exposed(exposures, successes, eligible, surface.exploration)


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
