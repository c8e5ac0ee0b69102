"""Watermarks: a partial order that clients carry without understanding it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.watermark import Watermark

watermarks = st.dictionaries(st.integers(0, 9), st.integers(1, 2**62), max_size=4).map(
    lambda positions: Watermark(tuple(sorted(positions.items())))
)


@given(watermarks)
def test_the_opaque_form_reads_back_as_the_same_position(mark: Watermark) -> None:
    assert Watermark.parse(str(mark)) == mark


@given(watermarks, watermarks)
def test_a_joined_position_covers_both_and_nothing_less_does(left: Watermark, right: Watermark) -> None:
    joined = left.joined(right)

    assert joined.covers(left)
    assert joined.covers(right)
    assert left.covers(right) == (left.joined(right) == left)


def test_the_beginning_is_covered_by_everything() -> None:
    assert Watermark().covers(Watermark.parse(""))
    assert not Watermark().covers(Watermark.of(1))


@pytest.mark.parametrize("text", ["7", "w2-0.1", "w1-0", "w1-0.x", "w1-0.1;drop", "w1-0.99999999999999999999"])
def test_a_text_that_is_no_watermark_is_refused_with_its_value(text: str) -> None:
    with pytest.raises(ValueError, match="is not a watermark"):
        Watermark.parse(text)
