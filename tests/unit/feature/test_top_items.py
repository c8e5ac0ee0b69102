"""A top list is what sorting the whole catalogue would give, however early the looking ends."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from services.feature.catalogue import Catalogue
from services.feature.item_entry import Place
from services.feature.top_items import TopWish, top_items
from shared.domain.items import Item
from shared.domain.user_state import TopOrder

NOW_MS = 1_000_000

counted = st.integers(0, 3)
gone = st.booleans()


def catalogue_of(items: Sequence[tuple[int, bool]]) -> Catalogue:
    """Items by how often each was consumed, and whether its time is over."""
    catalogue = Catalogue()
    for number, (count, over) in enumerate(items):
        item = Item(f"i{number}", available_until_ms=1 if over else 0)
        catalogue.upsert(item, Place("", 0, number, NOW_MS))
        if count:
            row = catalogue.touch(item.item_id).row
            catalogue.count([row] * count, [NOW_MS] * count)
    return catalogue


@given(items=st.lists(st.tuples(counted, gone), max_size=30), limit=st.integers(0, 8))
def test_the_best_available_items_come_in_order_and_equal_ones_by_id(items: list[tuple[int, bool]], limit: int) -> None:
    found = top_items(catalogue_of(items), TopWish(TopOrder.POPULAR, "", limit, NOW_MS))

    ranked = sorted((-count, f"i{number}") for number, (count, over) in enumerate(items) if count and not over)
    assert found.item_ids == tuple(item_id for _, item_id in ranked[:limit])
