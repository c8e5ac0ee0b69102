"""The catalogue's attributes are counted by type as items come, change and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.feature.attribute_uses import AttributeUses
from shared.domain.attributes import AttributeKind, AttributeUse, kind_of
from shared.domain.items import Item, Scalar

scalars: st.SearchStrategy[Scalar] = st.booleans() | st.floats(allow_nan=False) | st.text(max_size=3)
contents = st.none() | st.dictionaries(st.sampled_from("abc"), scalars, max_size=3)


@given(st.lists(st.tuples(st.sampled_from("xyz"), contents), max_size=30))
def test_counts_are_those_of_the_items_that_are_there(changes: list[tuple[str, dict[str, Scalar] | None]]) -> None:
    uses, items = AttributeUses(), dict[str, Item]()
    for item_id, attributes in changes:
        after = None if attributes is None else Item(item_id, attributes=attributes)
        uses.change(items.get(item_id), after)
        items.pop(item_id, None)
        if after:
            items[item_id] = after

    values = [(name, kind_of(value)) for item in items.values() for name, value in item.attributes.items()]
    expected = {
        name: {kind: values.count((name, kind)) for kind in AttributeKind if (name, kind) in values}
        for name in {name for name, _ in values}
    }
    assert {use.name: use.items for use in uses.most_used(100)} == expected


def test_the_most_used_attributes_come_first_and_only_so_many() -> None:
    uses = AttributeUses()
    for attributes in ({"b": 1.0, "a": 1.0, "c": "x"}, {"c": 2.0}):
        uses.change(None, Item("i", attributes=dict(attributes)))

    assert uses.most_used(2) == (
        AttributeUse("c", {AttributeKind.TEXT: 1, AttributeKind.NUMBER: 1}),
        AttributeUse("a", {AttributeKind.NUMBER: 1}),
    )
