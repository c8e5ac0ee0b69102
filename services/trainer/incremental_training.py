"""Going on with new events, top to bottom: the models of a bundle, its candidates for what came after, measurement.

The bundle has seen none of the new events, so it is the retriever whose candidates teach the ranker: no fold has to be
kept from it. The new events are cut in time: most are learned from, validation and test take the last ones, on which
the bundle and its successor are compared. Old events are context and never targets.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.going_on import GoingOn
from services.trainer.moments import Moments
from services.trainer.ranking_stage import RankingStage
from services.trainer.retrieval_stage import Encoded, RetrievalStage, Run
from services.trainer.sequences import TARGETS
from services.trainer.slate_quality import SlateUse
from services.trainer.slices import new_slice
from services.trainer.splits import newest_split
from services.trainer.training import TrainedModels, measured_models, timed
from services.trainer.two_stage import TwoStage


def train_increment(dataset: Dataset, new: npt.NDArray[np.bool_], run: Run) -> TrainedModels:
    """Go on from the run's warm start with the new events.

    Args:
        dataset: old and new events.
        new: (E,) which are new.
        run: settings and the bundle to go on from.

    Raises:
        DatasetError: there are too few new events.
        TrainingDivergedError: the loss is no number any more.
    """
    torch.set_num_threads(run.settings.threads)
    validation, test = newest_split(dataset, new, "validation"), newest_split(dataset, new, "test")
    learned = new[validation.train_events]
    if not np.isin(validation.train.event_types[learned], TARGETS).any():
        raise DatasetError(f"no new event of {dataset.name} tells a wish (clicks, likes, purchases, ratings, …)")
    seconds: dict[str, float] = {}
    data = Encoded.of(dataset, validation, run.settings)
    if run.warm_start:
        data = replace(data, scale=run.warm_start.source.scale)
    retrievers = RetrievalStage(data, run, new)
    with timed(seconds, "both stages"):
        chosen, slates = _fit_both(data, learned, retrievers, run)
    trained = measured_models(chosen, GoingOn(retrievers, data, run), test, seconds)
    return replace(trained, slates=slates)


def _fit_both(
    data: Encoded, learned: npt.NDArray[np.bool_], retrievers: RetrievalStage, run: Run
) -> tuple[TwoStage, SlateUse]:
    before = retrievers.begun(data.train.take(~learned))
    served = retrievers.fit_on(before, data.train, "retriever-all")
    moments = Moments.of(data.train, data.dataset.item_details)
    cut = new_slice(data.sequences(data.train), data.train.times_s, learned, run.settings.slice.most)
    stage = RankingStage(data, cut, moments, run)
    ranker = stage.fit(before, served).chosen
    slates = SlateUse.of(run.answers.read, stage.slates, ranker)
    return TwoStage(served, ranker, moments, run.settings.serving_quotas), slates
