"""The pool of the newest items."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.candidate_generation.newest import NewestItems

_changes = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 5)), max_size=30)


@given(_changes, st.sets(st.integers(0, 11)), st.integers(1, 12))
def test_without_a_cut_the_pool_is_all_living_items_newest_first(
    changes: list[tuple[int, int]], dead: set[int], looks: int
) -> None:
    newest, born = NewestItems(100), {}
    alive = np.ones(12, np.bool_)
    for number, (slot, time_ms) in enumerate(changes):
        newest.arrived(slot, time_ms)
        born[slot] = time_ms
        if number % looks == 0:
            newest.pool(alive)
    alive[list(dead)] = False

    expected = sorted((slot for slot in born if alive[slot]), key=lambda slot: (-born[slot], -slot))
    assert newest.pool(alive).tolist() == expected


def test_only_the_newest_are_kept() -> None:
    newest = NewestItems(2)
    for slot in range(5):
        newest.arrived(slot, 100 - slot)

    assert newest.pool(np.ones(5, np.bool_)).tolist() == [0, 1]


def test_deletions_let_older_items_move_up() -> None:
    newest = NewestItems(4)
    for slot in range(10):
        newest.arrived(slot, 100 - slot)
    alive = np.ones(10, np.bool_)
    newest.pool(alive)

    alive[:4] = False

    assert newest.pool(alive).tolist() == [4, 5, 6, 7]
