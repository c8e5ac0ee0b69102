"""Items like the seeds: near them as vectors, and what users went on to after them.

Each seed votes with two ranked lists; reciprocal rank fusion adds the votes up, because cosines and transition counts
share no scale. Without a bundle, shared categories and tags decide.

G groups of seeds, D vector size.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from services.candidate_generation.catalogue import NOWHERE
from services.candidate_generation.engine import Engine
from services.candidate_generation.fusing import fused
from services.candidate_generation.lexicon import item_labels, weighted_sum
from services.candidate_generation.query import Floats, Query, Slots, SourceAnswer
from services.candidate_generation.selection import best_slots

NAME: Final = "similar"

_MOST_GROUPS = 10  # more seeds than this are averaged in groups: each group costs a search


class SimilarSource:
    """Item-to-item retrieval from the request's seeds."""

    name = NAME

    def applies(self, query: Query) -> bool:
        """With seeds."""
        return bool(query.request.seed_item_ids)

    async def search(self, query: Query, quota: int) -> SourceAnswer:
        """Eligible items like the seeds, the seeds themselves left out."""
        catalogue = query.catalogue
        seeds = catalogue.slots(query.request.seed_item_ids)
        seeds = np.array(list(dict.fromkeys(seeds[seeds != NOWHERE].tolist())), np.int64)
        if query.engine is None:
            return _by_labels(query, seeds, quota)
        lists = [_without(slots, seeds) for slots, _ in await _near(query, query.engine, seeds, quota + len(seeds))]
        for slots, _ in query.engine.similar(query.request.seed_item_ids, 2 * quota + len(seeds)):
            lists.append(_without(query.eligible.among(slots), seeds)[:quota])
        return fused(lists, quota)


async def _near(query: Query, engine: Engine, seeds: Slots, k: int) -> list[tuple[Slots, Floats]]:
    if not len(seeds) or not query.eligible.count:
        return []
    vectors = await engine.item_vectors([query.catalogue.item(slot) for slot in seeds.tolist()])
    groups = np.array_split(vectors, min(_MOST_GROUPS, len(vectors)))
    centres = np.stack([group.mean(axis=0) for group in groups])  # (G, D)
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
    return await engine.nearest(centres.astype(np.float32), k, query.eligible)


def _without(slots: Slots, seeds: Slots) -> Slots:
    return slots[~np.isin(slots, seeds)]


def _by_labels(query: Query, seeds: Slots, quota: int) -> SourceAnswer:
    catalogue = query.catalogue
    labels = [label for slot in seeds.tolist() for label in item_labels(catalogue.item(slot))]
    scores = weighted_sum(catalogue.labels, labels, catalogue.size, max(1, len(catalogue)))
    scores[seeds] = 0
    found = best_slots(query, scores, quota)
    lost = query.without_bundle(NAME, "items with the same categories and tags were used").degraded
    return SourceAnswer(found.slots, found.scores, lost)
