"""Merging what the sources gave."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.candidate_generation.merging import merged
from services.candidate_generation.query import SourceAnswer

_answers = st.lists(st.lists(st.integers(0, 15), unique=True, max_size=10), max_size=5)


def _answer(slots: list[int]) -> SourceAnswer:
    scores = np.linspace(1, 0, len(slots), endpoint=False, dtype=np.float32)
    return SourceAnswer(np.array(slots, np.int64), scores)


@given(_answers)
def test_each_item_comes_once_and_each_source_keeps_its_order_and_scores(lists: list[list[int]]) -> None:
    result = merged([(f"s{number}", _answer(slots)) for number, slots in enumerate(lists)])

    assert sorted(result.slots.tolist()) == sorted({slot for slots in lists for slot in slots})
    for hits, slots in zip(result.hits, lists, strict=True):
        assert result.slots[hits.rows].tolist() == slots
        assert hits.scores.tolist() == _answer(slots).scores.tolist()


@given(_answers)
def test_items_stand_in_the_order_of_their_best_rank(lists: list[list[int]]) -> None:
    result = merged([(f"s{number}", _answer(slots)) for number, slots in enumerate(lists)])

    best: dict[int, tuple[int, int]] = {}
    for source, slots in enumerate(lists):
        for rank, slot in enumerate(slots):
            best[slot] = min(best.get(slot, (rank, source)), (rank, source))
    assert result.slots.tolist() == sorted(best, key=lambda slot: best[slot])


def test_nothing_merges_to_nothing() -> None:
    assert len(merged([]).slots) == 0
    assert merged([("empty", _answer([]))]).hits[0].source == "empty"
