"""The collector of a service leaves its state alone and still finds cycles."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from shared.kernel.garbage import THRESHOLDS, keep_what_is_there, look_seldom


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


def test_what_is_there_when_a_service_has_opened_is_not_looked_at_again() -> None:
    state = [_Cycle()]

    keep_what_is_there()

    assert not any(each is state[0] for each in gc.get_objects())


def test_cycles_of_requests_are_still_collected() -> None:
    look_seldom()
    keep_what_is_there()
    cycle = weakref.ref(_Cycle())

    made = [[] for _ in range(THRESHOLDS[0] + 1)]

    assert made
    assert cycle() is None
