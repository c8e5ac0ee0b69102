"""One recommender against another on the same requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.trainer.comparison import differences
from services.trainer.evaluation import Metrics


def measured(name: str, ranks: list[int]) -> Metrics:
    return Metrics(name, "world", 10, {}, {}, {}, 0.0, np.array(ranks, np.int64), np.zeros((len(ranks), 10), np.int32))


def test_the_last_is_set_against_each_of_the_others() -> None:
    first, second, last = measured("a", [0, 1] * 100), measured("b", [1, 3] * 100), measured("c", [1, 1] * 100)

    against_a, against_b = differences([first, second, last])

    assert (against_a.name, against_a.against, against_b.against) == ("c", "a", "b")
    assert against_a.mean == pytest.approx(0.5)
    assert against_a.relative == pytest.approx(1.0)
    assert against_b.mean == pytest.approx(0.25)  # a third place gains 1/2
    assert 0 < against_a.low < 0.5 < against_a.high
    assert against_a.is_clear


def test_a_difference_of_chance_is_not_clear() -> None:
    rng = np.random.default_rng(0)

    (found,) = differences([measured(name, rng.integers(0, 11, 300).tolist()) for name in "ab"])

    assert not found.is_clear


def test_what_was_asked_for_other_targets_is_left_out() -> None:
    other = replace(measured("a", [1, 2]), split="another")

    assert differences([other, measured("b", [1, 2])]) == []


def test_against_nothing_right_there_is_no_share() -> None:
    (found,) = differences([measured("a", [0, 0]), measured("b", [1, 0])])

    assert found.relative is None
