"""Training, top to bottom: split, retriever, candidates of the past, ranker, measurement.

The scheme. Of the training events, each user's latest ones (the slice) are kept from a first retriever; its candidates
for those moments teach the ranker, so no candidate is in-sample. The same retriever then goes on with all training
events and is the one that is served. Validation (what each user did after the training events) stops every part and
fits the calibration; the test events are measured on and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from services.trainer.datasets import Dataset, DatasetError, Interactions
from services.trainer.evaluation import Metrics, evaluate
from services.trainer.progress import Progress
from services.trainer.ranking_examples import Moments
from services.trainer.ranking_stage import RankingStage
from services.trainer.retrieval_stage import Encoded, RetrievalStage
from services.trainer.sequences import TARGETS
from services.trainer.settings import TrainingSettings
from services.trainer.slices import cut_slice
from services.trainer.splits import Split, leave_one_out, time_split
from services.trainer.two_stage import TwoStage

MIN_ITEMS = 2
RECALL_AT = (100, 300)


@dataclass(frozen=True, slots=True)
class TrainedModels:
    """What came out, and how good it is.

    Attributes:
        two_stage: both stages, to be served.
        validation, test: measurements of `retrieval` and `two-stage`, in this order.
        train: the events that the weights were fitted on.
        seconds: wall time of each part.
    """

    two_stage: TwoStage
    validation: tuple[Metrics, Metrics]
    test: tuple[Metrics, Metrics]
    train: Interactions
    seconds: dict[str, float]


def train_models(dataset: Dataset, settings: TrainingSettings, progress: Progress) -> TrainedModels:
    """Train both stages and measure them.

    Raises:
        DatasetError: there is too little to learn from.
        TrainingDivergedError: the loss is no number any more.
    """
    torch.set_num_threads(settings.threads)
    validation, test = divided(dataset, settings)
    seconds: dict[str, float] = {}
    data = Encoded.of(dataset, validation, settings)
    sequences = data.sequences(data.train)
    cut = cut_slice(sequences, settings.slice)
    moments = Moments.of(data.train, dataset.item_details)
    with _timed(seconds, "retriever"):
        retrievers = RetrievalStage(data, settings, progress)
        before_slice = np.sort(sequences.events[cut.for_retriever(sequences)])
        sliced = retrievers.fit_sliced(data.train.take(before_slice))
        served = retrievers.fit_served(sliced, data.train)
    with _timed(seconds, "ranker"):
        ranker = RankingStage(data, cut, moments, settings, progress).fit(sliced, served)
    two_stage = TwoStage(served, ranker, moments, settings.serving_quotas)
    with _timed(seconds, "evaluation"):
        measured = [_measured(two_stage, split) for split in (data.validation, test)]
    return TrainedModels(two_stage, measured[0], measured[1], data.train, seconds)


def divided(dataset: Dataset, settings: TrainingSettings) -> tuple[Split, Split]:
    """The validation and the test split.

    Raises:
        DatasetError: fewer than two items, nothing that tells a wish, or nobody to measure on.
    """
    if len(dataset.items) < MIN_ITEMS:
        raise DatasetError(f"{dataset.name} has {len(dataset.items)} items; there is nothing to choose from")
    divide = leave_one_out if settings.split == "leave-one-out" else time_split
    validation, test = divide(dataset, stage="validation"), divide(dataset, stage="test")
    if not np.isin(validation.train.event_types, TARGETS).any():
        raise DatasetError(f"{dataset.name} holds no event that tells a wish (clicks, likes, purchases, ratings, …)")
    return validation, test


def _measured(two_stage: TwoStage, split: Split) -> tuple[Metrics, Metrics]:
    retrieval = evaluate(two_stage.showing("retrieval"), split, recall_at=RECALL_AT)
    return retrieval, evaluate(two_stage, split, recall_at=RECALL_AT)


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - begin
