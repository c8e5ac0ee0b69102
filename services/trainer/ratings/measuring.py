"""How far off foretold ratings are: RMSE and MAE, over random folds or on ratings that were set aside.

Of an item that a user rated twice, each rating is by itself. E ratings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.progress import Progress
from services.trainer.ratings.factorisation import Doubles, GibbsSettings, Ratings, foretold
from services.trainer.ratings.facts import facts
from shared.domain.events import EventType

FOLDS = 5
_MOST_CELLS = 500_000_000
"""Users times items; the facts are dense matrices, and beyond this they are gigabytes."""


@dataclass(frozen=True, slots=True)
class RatingMetrics:
    """What was measured.

    Attributes:
        rmse, mae: over all ratings that were foretold.
        interval: 95 % interval of the RMSE over ratings, by the spread of the squared errors.
        folds: RMSE of each fold.
        ratings: how many were foretold.
    """

    rmse: float
    mae: float
    interval: tuple[float, float]
    folds: tuple[float, ...]
    ratings: int

    @classmethod
    def of(cls, errors: Sequence[Doubles]) -> RatingMetrics:
        """From the errors of each fold."""
        every = np.concatenate(errors)
        squares = every**2
        margin = 1.96 * float(squares.std()) / np.sqrt(len(squares))
        return cls(
            rmse=float(np.sqrt(squares.mean())),
            mae=float(np.abs(every).mean()),
            interval=(float(np.sqrt(max(0.0, squares.mean() - margin))), float(np.sqrt(squares.mean() + margin))),
            folds=tuple(float(np.sqrt((part**2).mean())) for part in errors),
            ratings=len(every),
        )


def ratings_of(dataset: Dataset) -> Ratings:
    """Those events of a data set that are ratings with a value.

    Raises:
        DatasetError: there are fewer than one a fold, or users and items are too many.
    """
    events = dataset.interactions
    chosen = (events.event_types == EventType.RATING) & np.isfinite(events.values)
    if chosen.sum() < FOLDS:
        raise DatasetError(f"{dataset.name} holds {chosen.sum()} ratings with a value; {FOLDS} folds need some each")
    if len(dataset.users) * len(dataset.items) > _MOST_CELLS:
        raise DatasetError(
            f"{dataset.name} has {len(dataset.users):,} users and {len(dataset.items):,} items; the measurement of "
            f"ratings takes up to {_MOST_CELLS:,} pairs of them. Measure on a part of the users"
        )
    return Ratings(
        events.user_rows[chosen].astype(np.int64),
        events.item_rows[chosen].astype(np.int64),
        events.values[chosen].astype(np.float64),
        events.times_s[chosen],
    )


def random_folds(count: int, seed: int) -> list[npt.NDArray[np.bool_]]:
    """Masks of `FOLDS` random parts that have no rating in common."""
    part = np.random.default_rng(seed).permutation(count) % FOLDS
    return [part == number for number in range(FOLDS)]


def measure_ratings(
    dataset: Dataset, tests: list[npt.NDArray[np.bool_]], settings: GibbsSettings, progress: Progress
) -> RatingMetrics:
    """Foretell each part from all the ratings outside of it."""
    ratings = ratings_of(dataset)
    errors: list[Doubles] = []
    for number, test in enumerate(tests):
        progress("ratings", number / len(tests), f"part {number + 1} of {len(tests)}")
        train, asked = ratings.take(~test), ratings.take(test)
        errors.append(foretold(train, asked, facts(dataset, train), settings) - asked.values)
    return RatingMetrics.of(errors)


def held_out(dataset: Dataset, aside: Dataset) -> npt.NDArray[np.bool_]:
    """Which ratings of a data set those of another are, by user, item and time.

    Raises:
        DatasetError: one of them is not in the data set.
    """
    ratings, wanted = ratings_of(dataset), aside.interactions
    keys = _keys(dataset, ratings.users, ratings.items, ratings.times_s)
    asked = _keys(aside, wanted.user_rows, wanted.item_rows, wanted.times_s)
    if missing := sorted(set(asked) - set(keys)):
        user, item, time_s = missing[0]
        raise DatasetError(
            f"{len(missing)} of the ratings to be foretold are not in {dataset.name}, "
            f"e.g. user {user}, item {item} at {time_s:.0f}; name the data that holds them too"
        )
    chosen = set(asked)
    return np.array([key in chosen for key in keys], np.bool_)


def _keys(
    dataset: Dataset, users: npt.NDArray[np.integer], items: npt.NDArray[np.integer], times_s: Doubles
) -> list[tuple[str, str, float]]:
    return [(dataset.users.ids[user], dataset.items.ids[item], time_s)
            for user, item, time_s in zip(users.tolist(), items.tolist(), times_s.tolist(), strict=True)]  # fmt: skip
