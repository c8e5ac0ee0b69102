"""Validation of the ranker: the requests with their candidates, found once, for every ranker that is to be compared.

Q requests, C candidates, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.candidates import CandidateLists
from services.trainer.correction import Judged, gains_of
from services.trainer.evaluation import batches
from services.trainer.moments import Moments
from services.trainer.presets import TrainingSettings
from services.trainer.ranking_examples import Requests, known_features
from services.trainer.retrieval_stage import Encoded
from services.trainer.two_stage import Retrieval, engagement, ranked
from shared.model.ranker import RankerModel

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Judge:
    """The validation requests with their candidates, found once: who ranks them better?

    Attributes:
        asked, lists, features: of the served retriever.
        targets, kinds: what happened.
    """

    asked: Requests
    lists: CandidateLists
    features: npt.NDArray[np.float16]
    targets: Rows
    kinds: Rows

    @classmethod
    def of(cls, data: Encoded, served: Retrieval, moments: Moments, settings: TrainingSettings) -> Judge:
        """Ask the served retriever."""
        split = data.validation
        (requests,) = batches(split, len(split))
        asked, lists = served.find(requests, settings.serving_quotas, moments)
        kinds = split.interactions.event_types[split.target_events].astype(np.int64)
        features = known_features(asked, lists, served.knowledge, moments)
        return cls(asked, lists, features, split.target_items.astype(np.int64), kinds)

    def ndcg(self, model: RankerModel) -> float:
        """NDCG@10 of a ranker's order."""
        wanted = engagement(self.logits(model), model.parts.calibration)
        return float(gains_of(self.lists.rows, wanted, self.targets).mean())

    def logits(self, model: RankerModel) -> npt.NDArray[np.float32]:
        """(Q, C, A)."""
        return ranked(RankerModel(model.parts), self.asked, self.lists, self.features)

    def judged(self, model: RankerModel) -> Judged:
        """The requests with a ranker's logits."""
        scaled = model.parts.calibration.scaler.scaled(self.features.astype(np.float32))
        return Judged(self.logits(model), scaled, self.lists.rows, self.targets)
