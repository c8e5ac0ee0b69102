"""The types of the catalogue's attributes: what a condition on one of them can be compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from shared.domain.items import Scalar


class AttributeKind(Enum):
    """The type of a value; a truth value is no number."""

    TEXT = "text"
    NUMBER = "a number"
    TRUTH = "true or false"


def kind_of(value: Scalar) -> AttributeKind:
    """The type of a value; whole numbers are numbers."""
    if isinstance(value, bool):
        return AttributeKind.TRUTH
    return AttributeKind.TEXT if isinstance(value, str) else AttributeKind.NUMBER


@dataclass(frozen=True, slots=True)
class AttributeUse:
    """One attribute and how many present items have it, by type. Items may disagree about the type."""

    name: str
    items: dict[AttributeKind, int] = field(default_factory=dict)
