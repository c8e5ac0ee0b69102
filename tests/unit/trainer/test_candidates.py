"""The offline candidates: those of serving, by the same sources, and nothing from after the request."""

from __future__ import annotations

import numpy as np

from services.trainer.candidates import Asking, CandidateFinder, Quotas
from services.trainer.datasets_ragged import Ragged
from services.trainer.moments import Moments
from shared.domain.items import Item
from shared.model.transitions import TransitionCounts
from tests.unit.trainer.data_worlds import DAY_S, dataset_of

ITEMS = 8
DAYS = [("u", f"i{item}", item * DAY_S) for item in range(ITEMS)]
CROWD = [(f"v{user}", "i6", 6.5 * DAY_S) for user in range(5)] + [(f"w{user}", "i7", 9 * DAY_S) for user in range(9)]


def finder(quotas: Quotas) -> CandidateFinder:
    """Items without likeness or followers: only the lists know anything."""
    events = dataset_of(sorted(DAYS + CROWD, key=lambda row: row[2])).interactions
    none = TransitionCounts.of((np.empty(0, np.int64), np.array([0])), ITEMS, 10, (0.5,)).table((0.5, 0.5))
    moments = Moments.of(events, tuple(Item(f"i{item}") for item in range(ITEMS)))
    return CandidateFinder(np.zeros((ITEMS, 2), np.float32), none, np.ones(ITEMS, np.bool_), moments, quotas)


def asking(time_s: float, seen: list[int]) -> Asking:
    rows = Ragged(np.array(seen, np.int64), np.array([0, len(seen)]))
    return Asking(np.ones((1, 2), np.float32), rows, rows, np.array([time_s]))


def found(quotas: Quotas, time_s: float, seen: list[int]) -> list[int]:
    lists = finder(quotas).find(asking(time_s, seen), np.random.default_rng(0))
    return [row for row in lists.rows[0].tolist() if row >= 0]


def test_what_was_popular_before_the_day_of_the_request_is_a_candidate() -> None:
    assert found(Quotas(1, 0, 1, 0, 0), 8.2 * DAY_S, seen=[0])[1:] == [6]


def test_what_became_popular_afterwards_is_not_known() -> None:
    assert found(Quotas(1, 0, 3, 3, 0), 3.5 * DAY_S, seen=[0]) == [1, 2]


def test_what_the_user_had_gives_its_place_to_the_next() -> None:
    assert found(Quotas(1, 0, 1, 0, 0), 8.2 * DAY_S, seen=[1, 6])[1:] == [7]


def test_a_candidate_of_several_sources_is_listed_once() -> None:
    rows = found(Quotas(ITEMS, 0, ITEMS, ITEMS, ITEMS), 10 * DAY_S, seen=[])

    assert sorted(rows) == list(range(ITEMS))
