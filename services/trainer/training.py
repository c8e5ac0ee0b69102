"""Training, top to bottom: split, retriever, candidates of the past, ranker, measurement, final fit.

The scheme. Of the training events, each user's latest ones (the slice) are kept from a first retriever; its candidates
for those moments teach the ranker, so no candidate is in-sample. The same retriever then goes on with all training
events. Validation (what each user did after the training events) stops every part, corrects the ranker and fits the
calibration; the test events are measured on and nothing else. For the test the models go on with what validation asked
for: the retriever's weights, and behind a cut in time the ranker, too (`going_on.py`). Last, they go on with the
held-out events: those models are served, and the measured ones are kept beside them for evaluations, which would be
in-sample on the served ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from services.trainer.datasets import Dataset, DatasetError, Interactions
from services.trainer.evaluation import Metrics, evaluate
from services.trainer.going_on import GoingOn
from services.trainer.moments import Moments
from services.trainer.presets import TrainingSettings
from services.trainer.ranking_stage import RankingStage, Recipe
from services.trainer.retrieval_stage import Encoded, RetrievalStage, Run
from services.trainer.sequences import TARGETS, TrainingSequences
from services.trainer.slate_quality import NO_SLATES, SlateUse
from services.trainer.slices import Slice, cut_slice, cut_time_slice
from services.trainer.splits import TIME_CUT, Split, everything, leave_one_out, time_split
from services.trainer.two_stage import TwoStage

MIN_ITEMS = 2
RECALL_AT = (100, 300)


@dataclass(frozen=True, slots=True)
class StageMetrics:
    """Both sources of candidates by themselves, and both stages together, on the same requests."""

    retrieval: Metrics
    transitions: Metrics
    two_stage: Metrics


@dataclass(frozen=True, slots=True)
class TrainedModels:
    """What came out, and how good it is.

    Attributes:
        measured: the models that have not seen what they were measured on.
        measured_events: what their weights were fitted on.
        served: the models to be served: fitted on all events, or the measured ones.
        test_split: what the measured models never saw.
        validation, test: measurements.
        seconds: wall time of each part.
        slates: what served slates gave to it.
    """

    measured: TwoStage
    measured_events: Interactions
    served: TwoStage
    test_split: Split
    validation: StageMetrics
    test: StageMetrics
    seconds: dict[str, float]
    slates: SlateUse = NO_SLATES


def train_models(dataset: Dataset, run: Run) -> TrainedModels:
    """Train both stages and measure them.

    Raises:
        DatasetError: there is too little to learn from.
        TrainingDivergedError: the loss is no number any more.
    """
    torch.set_num_threads(run.settings.threads)
    validation, test = divided(dataset, run.settings)
    test = test.sampled(run.settings.test_users, np.random.default_rng(run.settings.seed))
    seconds: dict[str, float] = {}
    data = Encoded.of(dataset, validation, run.settings)
    retrievers = RetrievalStage(data, run)
    with timed(seconds, "both stages"):
        chosen, recipe, slates = _fit_both(data, retrievers, run)
    again = recipe if run.settings.split == "time" else None
    trained = measured_models(chosen, GoingOn(retrievers, data, run, again), test, seconds)
    return replace(trained, slates=slates)


def measured_models(chosen: TwoStage, going_on: GoingOn, test: Split, seconds: dict[str, float]) -> TrainedModels:
    """Measure both stages, and let those that serve go on with the events that were held out.

    Args:
        chosen: what was fitted on the validation split's past.
        going_on: lets them learn later events.
        test: is measured with models that have seen all before it.
        seconds: wall time of each part; added to.
    """
    data = going_on.data
    with timed(seconds, "validation"):
        on_validation = measured_on(chosen, data.validation)
    with timed(seconds, "models for the test"):
        measured = going_on.until(test, chosen, data.validation, "test")
    with timed(seconds, "test"):
        on_test = measured_on(measured, test)
    served = measured
    if going_on.run.settings.final_fit:
        with timed(seconds, "final fit"):
            served = going_on.until(everything(test), measured, test, "final")
    return TrainedModels(measured, test.train, served, test, on_validation, on_test, seconds)


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


def _fit_both(data: Encoded, retrievers: RetrievalStage, run: Run) -> tuple[TwoStage, Recipe, SlateUse]:
    sequences = data.sequences(data.train)
    cut = _sliced(sequences, data.train, run.settings)
    before_slice = np.sort(sequences.events[cut.for_retriever(sequences)])
    sliced = retrievers.fit_new(data.train.take(before_slice), "retriever")
    served = retrievers.fit_on(sliced, data.train, "retriever-all")
    moments = Moments.of(data.train, data.dataset.item_details)
    stage = RankingStage(data, cut, moments, run)
    recipe = stage.fit(sliced, served)
    slates = SlateUse.of(run.answers.read, stage.slates, recipe.chosen)
    return TwoStage(served, recipe.chosen, moments, run.settings.serving_quotas), recipe, slates


def _sliced(sequences: TrainingSequences, train: Interactions, settings: TrainingSettings) -> Slice:
    if settings.split == "time":
        return cut_time_slice(sequences, train.times_s, 1 - TIME_CUT, settings.slice.most)
    return cut_slice(sequences, settings.slice)


def measured_on(models: TwoStage, split: Split) -> StageMetrics:
    """Each stage by itself and both together."""
    return StageMetrics(
        retrieval=evaluate(models.showing("retrieval"), split, recall_at=RECALL_AT),
        transitions=evaluate(models.showing("transitions"), split, recall_at=RECALL_AT),
        two_stage=evaluate(models, split, recall_at=RECALL_AT),
    )


@contextmanager
def timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Note the wall time of a part."""
    begin = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - begin
