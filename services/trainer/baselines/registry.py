"""The baselines by the name that `--stage baseline:NAME` takes, and how one is fitted and tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from services.trainer.baselines.als import ImplicitAls
from services.trainer.baselines.ease import DECAYS, Ease
from services.trainer.baselines.factorisation import Factorisation
from services.trainer.baselines.lightgcn import LightGcn
from services.trainer.baselines.neighbours import ItemNeighbours
from services.trainer.baselines.popularity import Popularity, RecentPopularity
from services.trainer.baselines.scoring import Baseline, ScoringRecommender, TrainingSet, Variants
from services.trainer.baselines.transitions import Transitions
from services.trainer.datasets import DatasetError
from services.trainer.evaluation import evaluate
from services.trainer.splits import Split

BASELINES: Mapping[str, Callable[[], Baseline]] = {
    "popularity": Popularity,
    "popularity-last-days": RecentPopularity,
    "transitions": Transitions,
    "item-knn": ItemNeighbours,
    "ease": Ease,
    "ease-decayed": lambda: Ease(decays=DECAYS),
    "ials": ImplicitAls,
    "matrix-factorisation": Factorisation,
    "lightgcn": LightGcn,
}
TUNING_USERS = 4_000
"""Validation users that a setting is judged by."""


@dataclass(frozen=True, slots=True)
class FittedBaseline:
    """A recommender and how its setting was found.

    Attributes:
        recommender: fitted on the train part of the split to be scored.
        setting: the label of the setting that won on validation.
        tried: NDCG@10 on validation by setting; empty where there was nothing to choose.
    """

    recommender: ScoringRecommender
    setting: str
    tried: dict[str, float]


def fit_baseline(name: str, split: Split, validation: Split) -> FittedBaseline:
    """Choose the setting that is best on `validation`, then fit it on the train part of `split`.

    For the choice the baseline knows only the train part of `validation`.

    Raises:
        DatasetError: there is no baseline of that name, or it cannot take data of this size.
    """
    if name not in BASELINES:
        raise DatasetError(f"there is no baseline {name!r}; known are {', '.join(sorted(BASELINES))}")
    variants = BASELINES[name]().fit(TrainingSet.of(validation))
    tried = _tried(name, variants, validation) if len(variants) > 1 else {}
    setting = max(tried, key=lambda label: tried[label]) if tried else next(iter(variants))
    if not np.array_equal(split.train_events, validation.train_events):
        variants = BASELINES[name]().fit(TrainingSet.of(split))
    return FittedBaseline(ScoringRecommender(name, variants[setting]()), setting, tried)


def _tried(name: str, variants: Variants, validation: Split) -> dict[str, float]:
    sample = validation.sampled(TUNING_USERS, np.random.default_rng(0))
    return {
        label: evaluate(ScoringRecommender(name, make()), sample).values["ndcg@10"] for label, make in variants.items()
    }
