"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_PATIENCE_SECONDS = 30
"""Only a test that fails waits this long."""


async def until(condition: Callable[[], bool], patience_seconds: float = _PATIENCE_SECONDS) -> None:
    """Return as soon as the condition holds; a test whose condition never comes fails.

    Raises:
        TimeoutError: it did not come.
    """
    async with asyncio.timeout(patience_seconds):
        while not condition():
            await asyncio.sleep(0.002)
