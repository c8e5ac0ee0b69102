"""What a training made of served slates, and how well its ranker orders those that came after.

L slates.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from services.trainer.slate_examples import DividedSlates
from services.trainer.slate_gains import Gains, gain_of, slate_gains
from services.trainer.slates import AnsweredSlate
from shared.model.ranker import RankerModel


@dataclass(frozen=True, slots=True)
class SlateUse:
    """What a training made of served slates.

    Attributes:
        read: slates of the log.
        learned, impressions, positives: slates that the ranker learned from, their entries that were looked at, and
            what was done with them.
        later: slates behind all that was learned.
        gains: (L,) NDCG of the new ranker on these.
        served_gains: (L,) of the order in which they were shown.
    """

    read: int = 0
    learned: int = 0
    impressions: int = 0
    positives: int = 0
    later: tuple[AnsweredSlate, ...] = ()
    gains: Gains = field(default_factory=lambda: np.empty(0))
    served_gains: Gains = field(default_factory=lambda: np.empty(0))

    @classmethod
    def of(cls, read: int, slates: DividedSlates, ranker: RankerModel) -> SlateUse:
        """Measure the ranker that has learned from these slates, out of so many that were read."""
        return cls(
            read=read,
            learned=len(slates.learned),
            impressions=sum(int((slate.weights > 0).sum()) for slate in slates.learned),
            positives=sum(len(slate.places) for slate in slates.learned),
            later=slates.later,
            gains=slate_gains(ranker, slates.later),
            served_gains=np.array([gain_of(np.arange(len(slate)), slate) for slate in slates.later]),
        )

    def as_metrics(self) -> dict[str, float]:
        """For the manifest; empty where the log holds no slates."""
        if not self.read:
            return {}
        counts = {
            "slates_read": self.read,
            "slates_learned": self.learned,
            "slates_impressions": self.impressions,
            "slates_positives": self.positives,
            "slates_later": len(self.later),
        }
        measured = {"slates_ndcg": self.gains, "slates_as_served_ndcg": self.served_gains} if self.later else {}
        return {**{name: float(count) for name, count in counts.items()},
                **{name: float(gains.mean()) for name, gains in measured.items()}}  # fmt: skip


NO_SLATES = SlateUse()
"""Of a training that had none."""
