"""How training tells what it is doing: a callback, so that a terminal, a log or nothing can listen."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called often; must be quick."""

    def __call__(self, stage: str, share: float, message: str) -> None:
        """`share` of the stage is done, from 0 to 1."""


def silent(stage: str, share: float, message: str) -> None:
    """Nobody listens."""
