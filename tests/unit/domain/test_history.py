"""A history in columns, whatever the events say."""

from __future__ import annotations

import warnings

import numpy as np

from shared.domain.events import Event, EventType
from shared.domain.history import LARGEST_VALUE, History


def rated(value: float | None) -> Event:
    """An event with a value."""
    return Event("e", "ann", "item-1", EventType.RATING, 1, value)


def test_a_value_that_32_bits_cannot_hold_becomes_the_largest_there_is_and_nobody_is_warned() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = History.of([rated(1.7e308), rated(-1.7e308), rated(4.5), rated(None)])

    assert history.values[:3].tolist() == [LARGEST_VALUE, -LARGEST_VALUE, 4.5]
    assert np.isnan(history.values[3])
