"""Both stages go on behind a cut in time, on a world where people take what came out after the ranker was chosen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from services.trainer.baselines.registry import fit_baseline
from services.trainer.evaluation import evaluate
from services.trainer.going_on import GoingOn
from services.trainer.moments import Moments
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from services.trainer.ranking_stage import RankingStage
from services.trainer.retrieval_stage import Encoded, RetrievalStage, Run
from services.trainer.slices import cut_time_slice
from services.trainer.splits import everything, time_split
from services.trainer.two_stage import TwoStage
from services.trainer.unseen_items import unseen_rows
from tests.unit.trainer.data_worlds import releases

SETTINGS = replace(
    TrainingSettings(), split="time", preset="tiny", epochs=Epochs(sliced=2, continued=1, ranker=1, final=1, patience=2)
)
RUN = Run(SETTINGS, silent)
MOST = 10


def knows_ids(models: TwoStage, item_rows: npt.NDArray[np.integer]) -> bool:
    """Whether the ranker has learned something of the id of each of these items."""
    return bool(models.ranker.parts.network.tower.ids.weight.detach().numpy()[item_rows].any(axis=1).all())


def test_the_ranker_learns_what_came_after_it_was_chosen_and_ranks_it_by_what_counts_tell() -> None:
    torch.set_num_threads(SETTINGS.threads)
    dataset = releases()
    validation, test = time_split(dataset, stage="validation"), time_split(dataset, stage="test")
    data = Encoded.of(dataset, validation, SETTINGS)
    retrievers = RetrievalStage(data, RUN)
    cut = cut_time_slice(data.sequences(data.train), data.train.times_s, 0.1, MOST)
    retrieval = retrievers.fit_new(data.train, "retriever")
    moments = Moments.of(data.train, dataset.item_details)
    recipe = replace(RankingStage(data, cut, moments, RUN).fit(retrieval, retrieval), epochs=1)
    chosen = TwoStage(retrieval, recipe.chosen, moments, SETTINGS.serving_quotas)
    going_on = GoingOn(retrievers, data, RUN, recipe)

    measured = going_on.until(test, chosen, validation, "test")
    served = going_on.until(everything(test), measured, test, "final")

    came_since = np.setdiff1d(test.train.item_rows, validation.train.item_rows)
    still_to_come = unseen_rows(test.train.item_rows, len(dataset.items))
    assert np.isin(test.target_items, came_since).mean() > 0.5
    assert [knows_ids(models, came_since) for models in (chosen, measured, served)] == [False, True, True]
    assert [knows_ids(models, still_to_come) for models in (chosen, measured, served)] == [False, False, True]
    popular = evaluate(fit_baseline("popularity-last-days", test, validation).recommender, test)
    stale = replace(chosen, retrieval=measured.retrieval, moments=measured.moments)
    found, not_gone_on = (evaluate(models, test).values["ndcg@10"] for models in (measured, stale))
    assert found > popular.values["ndcg@10"]
    assert found > 1.1 * not_gone_on
