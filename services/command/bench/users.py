"""Whom slates are asked for: ids from a file, else those that the event log tells of."""

from __future__ import annotations

from pathlib import Path

from shared.domain.events import Event
from shared.domain.items import User
from shared.domain.services import Feedback
from shared.domain.watermark import Watermark

MOST_USERS, MOST_RECORDS = 10_000, 200_000
"""Reading the log ends there: enough users that no cache holds them all, and a short wait."""


def users_in(path: Path) -> tuple[str, ...]:
    """The distinct ids of a text file, one a line.

    Raises:
        OSError, UnicodeDecodeError: it cannot be read.
    """
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return tuple(dict.fromkeys(line for line in lines if line))


async def users_of(feedback: Feedback) -> tuple[str, ...]:
    """The first users of the log, in order of their first record.

    Raises:
        ServiceError: the log does not answer, or this caller may not read it.
    """
    users: dict[str, None] = {}
    read = 0
    async for batch in feedback.tail(Watermark(), follow=False, batch_size=5_000):
        read += len(batch.records)
        for record in batch.records:
            if isinstance(record.fact, Event | User) and record.fact.user_id:
                users[record.fact.user_id] = None
        if len(users) >= MOST_USERS or read >= MOST_RECORDS:
            break
    return tuple(users)[:MOST_USERS]
