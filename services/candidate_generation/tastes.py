"""Which categories a user cares for, from the latest events and the profile's interests.

Each event speaks for its item's categories: louder the newer it is and the rarer the category, and against them when
it is a dislike or a hide.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import numpy.typing as npt

from services.candidate_generation.catalogue import NOWHERE, Catalogue
from shared.domain.events import EventType
from shared.domain.retrieval import RetrievalRequest

_EVENTS = 50
_DECAY = 0.95
_MOST_CATEGORIES = 3
_INTEREST_WEIGHT = 1.0
_WEIGHTS = {EventType.IMPRESSION: 0.0, EventType.DISLIKE: -1.0, EventType.HIDE: -1.0, EventType.VIEW: 0.5}


def favourite_categories(
    catalogue: Catalogue, request: RetrievalRequest, history_slots: npt.NDArray[np.int64]
) -> tuple[str, ...]:
    """At most three categories with the strongest evidence for them, strongest first."""
    evidence = _from_history(catalogue, request, history_slots)
    for tag in request.user.interest_tags if request.user else ():
        evidence[tag] += _INTEREST_WEIGHT
    items = max(1, len(catalogue))
    strength = {
        category: weight * math.log1p(items / len(catalogue.categories.get(category)))
        for category, weight in evidence.items()
        if weight > 0 and len(catalogue.categories.get(category))
    }
    return tuple(sorted(strength, key=lambda category: (-strength[category], category))[:_MOST_CATEGORIES])


def _from_history(
    catalogue: Catalogue, request: RetrievalRequest, history_slots: npt.NDArray[np.int64]
) -> defaultdict[str, float]:
    evidence: defaultdict[str, float] = defaultdict(float)
    slots = history_slots[-_EVENTS:][::-1].tolist()
    kinds = request.history.event_types[-_EVENTS:][::-1].tolist()
    for age, (slot, kind) in enumerate(zip(slots, kinds, strict=True)):
        if slot != NOWHERE:
            weight = _WEIGHTS.get(kind, 1.0) * _DECAY**age
            for category in catalogue.item(slot).categories:
                evidence[category] += weight
    return evidence
