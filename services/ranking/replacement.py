"""Replaces functions of Ray where it has no setting for what the ranker needs, and notices when they are gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def replace_function(owner: Any, name: str, function: Callable[..., Any]) -> None:
    """Put `function` in the place of `owner.name`, in this process only.

    Raises:
        AttributeError: this release of Ray has no such function.
    """
    if not callable(getattr(owner, name, None)):
        raise AttributeError(f"{owner.__name__} has no {name}; install the release of Ray that the lock file names")
    setattr(owner, name, function)
