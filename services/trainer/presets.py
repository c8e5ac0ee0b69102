"""How a model is trained: presets by size, and what the command line may change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from services.trainer.candidates import Quotas
from services.trainer.ranking_training import RankingTrainingSettings
from services.trainer.retrieval_training import RetrievalTrainingSettings
from services.trainer.slates import AttributionSettings
from services.trainer.slices import SliceSettings
from services.trainer.text_tuning import TextTuningSettings
from shared.model.retriever import RetrieverSettings

SplitName = Literal["leave-one-out", "time"]


def _shape(width: int, heads: int, blocks: int, history_limit: int) -> RetrieverSettings:
    return RetrieverSettings.model_validate(
        {"width": width, "heads": heads, "blocks": blocks, "history_limit": history_limit}
    )


PRESETS: dict[str, RetrieverSettings] = {
    "tiny": _shape(32, 1, 1, 50),
    "small": _shape(64, 2, 2, 200),
    "base": _shape(128, 4, 3, 200),
    "large": _shape(256, 8, 4, 512),
}
"""Shapes by name: `tiny` for tests, `small` for a processor, `base` and `large` for GPUs."""


@dataclass(frozen=True, slots=True)
class Epochs:
    """How long each part is fitted at most; validation may end it earlier.

    Attributes:
        sliced: the retriever on the events before the slice.
        continued: the same on all training events, from there.
        ranker: the ranker on the slice.
        final: the retriever on all events, when nothing is held out any more.
        patience: epochs without a better validation that end a part.
        steps: batches after which an epoch ends, also within the data; 0 = with them.
    """

    sliced: int = 10
    continued: int = 5
    ranker: int = 3
    final: int = 1
    patience: int = 2
    steps: int = 0


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Everything that shapes a bundle beside the data.

    Attributes:
        split: what is held out and measured on.
        preset: a name of `PRESETS`.
        seed: of every random choice.
        threads: of torch; a second one gains a third on idle cores and loses much on busy ones, where it waits.
        recall_k, recall_target: the index must reach this recall at k against exact search.
        followers: that the transition table keeps of each item.
        decay, damping: of the transition counter; None: chosen on the validation requests.
        feature_limit: features of items at most.
        validation_users, test_users: users that validation and the test ask at most, drawn at random.
        quotas, serving_quotas: candidates by source, in training and as the services give them.
        init_from: bundle that the retriever begins as, a version of the registry or a folder; "": at random.
        since: log position behind which the events to learn from lie; "": all are learned from.
        attribution: what counts as the answer to a served slate.
        text_tuning: how the text encoder is fine-tuned before, if it is.
        final_fit: after measuring, go on with all events for what is served; the measured models stay beside it.
    """

    split: SplitName = "leave-one-out"
    preset: str = "small"
    seed: int = 0
    threads: int = 1
    epochs: Epochs = field(default_factory=Epochs)
    retrieval: RetrievalTrainingSettings = field(default_factory=RetrievalTrainingSettings)
    ranking: RankingTrainingSettings = field(default_factory=RankingTrainingSettings)
    slice: SliceSettings = field(default_factory=SliceSettings)
    quotas: Quotas = field(default_factory=Quotas)
    serving_quotas: Quotas = field(default_factory=lambda: Quotas(200, 50, 30, 20, 0))
    learning_rate: float = 2e-3
    ranker_learning_rate: float = 1e-3
    recall_k: int = 200
    recall_target: float = 0.95
    followers: int = 200
    decay: float | None = None
    damping: float | None = None
    feature_limit: int = 20_000
    validation_users: int = 2_000
    test_users: int = 50_000
    init_from: str = ""
    since: str = ""
    attribution: AttributionSettings = field(default_factory=AttributionSettings)
    text_tuning: TextTuningSettings = field(default_factory=TextTuningSettings)
    final_fit: bool = True

    @property
    def shape(self) -> RetrieverSettings:
        """The networks' shape."""
        return PRESETS[self.preset]
