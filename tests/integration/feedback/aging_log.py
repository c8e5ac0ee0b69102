"""A log in a file, and the clock by which it ages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.feedback.retention import DAY_MS
from services.feedback.sqlite_log import SqliteEventLog, open_sqlite_log
from tests.contract.event_log_adapters import NOW_MS


class Calendar:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms

    def pass_days(self, days: float) -> None:
        self.now_ms += int(days * DAY_MS)


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
async def log(tmp_path: Path, calendar: Calendar) -> AsyncIterator[SqliteEventLog]:
    async with open_sqlite_log(tmp_path / "feedback", calendar) as opened:
        yield opened
