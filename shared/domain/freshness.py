"""Whether a feature is there, and young enough to be believed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

ANY_AGE = 0
"""A limit that no age exceeds."""


class FeatureStatus(IntEnum):
    """How a feature stands. Codes equal `winnow.v1.FeatureStatus`."""

    UNSPECIFIED = 0
    PRESENT = 1
    MISSING = 2
    OUTSIDE_MAX_AGE = 3

    @classmethod
    def at(cls, time_ms: int | None, now_ms: int, max_age_ms: int) -> FeatureStatus:
        """Of a feature of some moment; None: there is none."""
        if time_ms is None:
            return cls.MISSING
        return cls.OUTSIDE_MAX_AGE if max_age_ms != ANY_AGE and now_ms - time_ms > max_age_ms else cls.PRESENT


@dataclass(frozen=True, slots=True)
class UserFreshness:
    """How each feature of a user stands; affinities are as old as the latest event that they are made of."""

    history: FeatureStatus = FeatureStatus.UNSPECIFIED
    profile: FeatureStatus = FeatureStatus.UNSPECIFIED
    category_affinities: FeatureStatus = FeatureStatus.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class ItemFreshness:
    """How each feature of an item stands; counts are of the moment, so they are there or not."""

    content: FeatureStatus = FeatureStatus.UNSPECIFIED
    counts: FeatureStatus = FeatureStatus.UNSPECIFIED
    vectors: FeatureStatus = FeatureStatus.UNSPECIFIED


NOTHING_OF_USER = UserFreshness(*[FeatureStatus.MISSING] * 3)
NOTHING_OF_ITEM = ItemFreshness(*[FeatureStatus.MISSING] * 3)
UNSAID_OF_USER = UserFreshness()
UNSAID_OF_ITEM = ItemFreshness()
