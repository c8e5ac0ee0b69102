"""Filters as masks over slots: what a request may get back, decided once for all sources.

What a filter asks of the content (categories, conditions, availability) is evaluated once for each state of the
catalogue and kept; a request only adds the ids that it excludes.

S slots.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from services.candidate_generation.catalogue import NOWHERE, Catalogue
from shared.domain.conditions import ItemFilter

Slots = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_MOST_KEPT = 128


@dataclass(frozen=True, slots=True)
class ContentPart:
    """What a filter's categories, conditions and the availability windows let through.

    Attributes:
        key: names this very evaluation.
        padded: (S + 2,) mask with False at both ends, for slots of -1 and beyond S; never changed.
        since_ms, until_ms: the moments for which it holds.
    """

    key: int
    padded: Mask
    since_ms: int
    until_ms: int

    def of(self, slots: Slots) -> Mask:
        """Whether each of these slots is let through."""
        return _taken(self.padded, slots)


class Eligible:
    """Which slots a request may get back. Items that come later are not among them.

    Args:
        content: what the content part of the filter let through.
        excluded: (E,) slots of the ids that the request excludes.
    """

    def __init__(self, content: ContentPart, excluded: Slots) -> None:
        self.content = content
        self.excluded = excluded
        self._padded = content.padded
        if len(excluded):
            self._padded = content.padded.copy()
            self._padded[excluded + 1] = False

    @property
    def mask(self) -> Mask:
        """(S,) by slot."""
        return self._padded[1:-1]

    @cached_property
    def count(self) -> int:
        """How many items are eligible."""
        return int(np.count_nonzero(self._padded))

    def of(self, slots: Slots) -> Mask:
        """Whether each of these slots is eligible; `NOWHERE` and later slots are not."""
        return _taken(self._padded, slots)

    def among(self, slots: Slots) -> Slots:
        """The eligible ones of these slots, in their order."""
        return slots[self.of(slots)]


class FilterMasks:
    """Evaluates filters against the catalogue, with a small memory.

    Args:
        catalogue: whose items are judged.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._kept: OrderedDict[object, ContentPart] = OrderedDict()
        self._version = -1
        self._evaluations = 0

    def eligible(self, wanted: ItemFilter, time_ms: int) -> Eligible:
        """What a filter lets through at a moment."""
        kept = self._content_part(wanted, time_ms)
        excluded = np.empty(0, np.int64)
        if wanted.exclude_item_ids:
            slots = self._catalogue.slots(wanted.exclude_item_ids)
            excluded = slots[slots != NOWHERE]
        return Eligible(kept, excluded)

    def _content_part(self, wanted: ItemFilter, time_ms: int) -> ContentPart:
        if self._version != self._catalogue.version:
            self._kept.clear()
            self._version = self._catalogue.version
        name = _name(wanted)
        kept = self._kept.get(name)
        if kept is None or not kept.since_ms <= time_ms < kept.until_ms:
            kept = self._kept[name] = self._evaluate(wanted, time_ms)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return kept

    def _evaluate(self, wanted: ItemFilter, time_ms: int) -> ContentPart:
        catalogue = self._catalogue
        mask = catalogue.alive.copy()
        is_open, since_ms, until_ms = catalogue.windows.open_at(time_ms, catalogue.size)
        if is_open is not None:
            mask &= is_open
        if wanted.include_categories:
            mask &= catalogue.in_category(wanted.include_categories)
        if wanted.exclude_categories:
            mask &= ~catalogue.in_category(wanted.exclude_categories)
        for condition in wanted.conditions:
            mask &= catalogue.attributes.fulfilling(condition, catalogue.size)
        self._evaluations += 1
        return ContentPart(self._evaluations, np.pad(mask, 1), since_ms, until_ms)


def _taken(padded: Mask, slots: Slots) -> Mask:
    return np.take(padded, slots + 1, mode="clip")


def _name(wanted: ItemFilter) -> object:
    """Equal for filters that ask the same. Operands carry their type: True, 1 and 1.0 are equal to Python only."""
    conditions = tuple(
        (condition.name, condition.comparison, tuple((type(operand), operand) for operand in condition.operands))
        for condition in wanted.conditions
    )
    return wanted.include_categories, wanted.exclude_categories, conditions
