"""What is told of a trained bundle to people: when it was made, on what, and how good it was found to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class TrainedBundle:
    """One training that was published.

    Attributes:
        created_ms: Unix milliseconds.
        trained_events: events that the weights were fitted on.
        trained_until_ms: time of the last of them.
        metrics: what the training measured, by name.
    """

    version: str
    created_ms: int = 0
    trained_events: int = 0
    trained_until_ms: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
