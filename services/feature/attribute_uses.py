"""Which attributes the present items have, and of which types: counted as items come, change and go."""

from __future__ import annotations

from collections import Counter

from shared.domain.attributes import AttributeKind, AttributeUse, kind_of
from shared.domain.items import Item


class AttributeUses:
    """Counts of present items by attribute and type."""

    def __init__(self) -> None:
        self._items: dict[str, Counter[AttributeKind]] = {}

    def change(self, before: Item | None, after: Item | None) -> None:
        """An item's content is another now; None: it was not there, or is gone."""
        for name, value in after.attributes.items() if after else ():
            self._items.setdefault(name, Counter())[kind_of(value)] += 1
        for name, value in before.attributes.items() if before else ():
            counts = self._items[name]
            counts[kind_of(value)] -= 1
            if not counts.total():
                del self._items[name]

    def most_used(self, limit: int) -> tuple[AttributeUse, ...]:
        """The attributes that most items have; equal ones by name."""
        names = sorted(self._items, key=lambda name: (-self._items[name].total(), name))
        return tuple(AttributeUse(name, dict(+self._items[name])) for name in names[:limit])
