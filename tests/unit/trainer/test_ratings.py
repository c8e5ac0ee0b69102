"""Foretelling ratings: worlds whose answer is known, and nothing read that would tell it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.datasets_assembly import assemble
from services.trainer.interchange_events import RawEvents
from services.trainer.progress import silent
from services.trainer.ratings.factorisation import GibbsSettings, Ratings, foretold
from services.trainer.ratings.measuring import held_out, measure_ratings, random_folds, ratings_of
from shared.domain.events import EventType
from shared.domain.items import User
from tests.unit.trainer.data_worlds import DAY_S

QUICK = GibbsSettings(factors=4, draws=60, warm_up=20)
USERS, ITEMS = 60, 40


def rating_world(
    values: npt.NDArray[np.float64], users: tuple[User, ...] = (), kind: EventType = EventType.RATING
) -> Dataset:
    """Everybody rates everything, one rating a day; `values` is (U, I), NaN where there is none."""
    user_rows, item_rows = np.nonzero(np.isfinite(values))
    events = RawEvents(
        user_names=[f"u{row}" for row in range(len(values))],
        item_names=[f"i{row}" for row in range(values.shape[1])],
        user_codes=user_rows.astype(np.int32),
        item_codes=item_rows.astype(np.int32),
        event_types=np.full(len(user_rows), kind, np.int8),
        values=values[user_rows, item_rows].astype(np.float32),
        times_s=np.arange(len(user_rows), dtype=np.float64) * DAY_S,
    )
    return assemble(events, (), users, "world")


def error_of(data: Dataset) -> float:
    return measure_ratings(data, random_folds(len(ratings_of(data)), 0)[:1], QUICK, silent).rmse


def test_tastes_that_multiply_are_found() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(USERS, 2)) @ rng.normal(size=(2, ITEMS))
    data = rating_world(3 + truth + rng.normal(scale=0.1, size=truth.shape))

    assert error_of(data) < 0.25 * truth.std()


def test_attributes_tell_the_taste_of_users_who_rated_little() -> None:
    rng = np.random.default_rng(1)
    kinds = np.arange(5 * USERS) % 2
    truth = np.where(kinds[:, None] == (np.arange(ITEMS) % 2), 1.0, -1.0)
    few = np.where(rng.random(truth.shape) < 0.05, 3 + truth, np.nan)
    people = tuple(User(f"u{row}", attributes={"kind": f"kind-{kind}"}) for row, kind in enumerate(kinds))

    assert error_of(rating_world(few, people)) < 0.7 * error_of(rating_world(few))


def test_no_value_that_is_asked_for_is_read() -> None:
    ratings = ratings_of(rating_world(np.random.default_rng(2).normal(size=(8, 6))))
    test = np.arange(len(ratings)) % 4 == 0
    train, asked = ratings.take(~test), ratings.take(test)
    nothing = (np.zeros((8, 1)), np.zeros((6, 1)))

    told = foretold(train, asked, nothing, QUICK)
    told_again = foretold(train, replace(asked, values=np.full(len(asked), np.nan)), nothing, QUICK)

    assert np.array_equal(told, told_again)
    assert told.min() >= train.values.min()
    assert told.max() <= train.values.max()


def test_a_mood_of_the_day_is_found_in_the_other_ratings_of_that_day() -> None:
    rng = np.random.default_rng(3)
    days = np.repeat(np.arange(100.0), 10)
    moods = np.repeat(rng.choice([-1.0, 1.0], 100), 10)
    ratings = Ratings(np.zeros(1000, np.int64), rng.integers(0, 5, 1000), moods, days * DAY_S)
    test = np.arange(1000) % 10 == 0
    nothing = (np.zeros((1, 1)), np.zeros((5, 1)))

    def off(settings: GibbsSettings) -> float:
        told = foretold(ratings.take(~test), ratings.take(test), nothing, settings)
        return float(np.abs(told - moods[test]).mean())

    assert off(QUICK) < 0.3 < off(replace(QUICK, moments=False))


def test_ratings_that_were_set_aside_are_found_again() -> None:
    values = np.arange(12.0).reshape(3, 4)
    data, aside = rating_world(values), rating_world(np.where(values < 2, values, np.nan))

    assert held_out(data, aside).sum() == 2


def test_a_rating_that_is_not_in_the_data_is_named() -> None:
    data = rating_world(np.where(np.arange(12.0).reshape(3, 4) < 11, 1.0, np.nan))
    aside = rating_world(np.ones((3, 4)))

    with pytest.raises(DatasetError, match=r"1 of the ratings .* user u2, item i3"):
        held_out(data, aside)


def test_data_without_ratings_are_refused() -> None:
    with pytest.raises(DatasetError, match="holds 0 ratings"):
        ratings_of(rating_world(np.ones((3, 4)), kind=EventType.DWELL))
