"""What selection goes by beyond creator and first category, read from the items once and recorded with the slate.

Only what the surface asks for is read: categories and tags for likeness, attributes with a cap, rules that match.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from services.recommendation.business_rules import BusinessRule, Deed, working
from services.recommendation.slate import Pool, Rows
from services.recommendation.surface import Surface
from shared.domain.items import Item
from shared.domain.slates import Labels

Labelling = Callable[[Item], Iterable[str]]

CATEGORY, TAG, ATTRIBUTE, RULE = "category:", "tag:", "attribute:", "rule:"


def labels_of(pool: Pool, surface: Surface, time_ms: int) -> Labels:
    """The labels of a pool's candidates.

    Args:
        pool: hydrated, as far as the catalogue could be read.
        surface: whose rules will be applied.
        time_ms: the moment of the request.
    """
    rows: dict[str, list[int]] = {}
    if surface.diversity.mmr_strength:
        _collect(rows, pool, _likeness_labels)
    if capped := tuple(name for name, cap in surface.caps.per_attribute.items() if cap):
        _collect(rows, pool, lambda item: _attribute_labels(item, capped))
    for rule in working(surface.rules, time_ms, Deed.PIN, Deed.BOOST, Deed.BURY):
        if found := _matching(rule, pool):
            rows[RULE + rule.name] = found
    return Labels(tuple(rows), tuple(np.array(each, np.int32) for each in rows.values()))


def rule_rows(labels: Labels) -> dict[str, Rows]:
    """The candidates that each rule is about, by its name."""
    return dict(labels.of(RULE))


def _collect(rows: dict[str, list[int]], pool: Pool, labels: Labelling) -> None:
    for row, state in enumerate(pool.states):
        if state is not None and state.item is not None:
            for label in labels(state.item):
                rows.setdefault(label, []).append(row)


def _likeness_labels(item: Item) -> Iterable[str]:
    yield from (CATEGORY + name for name in dict.fromkeys(item.categories))
    yield from (TAG + name for name in dict.fromkeys(item.tags))


def _attribute_labels(item: Item, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        if (value := item.attributes.get(name)) is not None:
            yield f"{ATTRIBUTE}{name}={value!r}"


def _matching(rule: BusinessRule, pool: Pool) -> list[int]:
    """Rows of what a rule names; those of a rule that names items stand in the rule's order."""
    if rule.items:
        row_of = {item_id: row for row, item_id in enumerate(pool.item_ids)}
        places: Iterable[int] = (row_of[item_id] for item_id in dict.fromkeys(rule.items) if item_id in row_of)
    else:
        places = range(len(pool))
    states = pool.states or (None,) * len(pool)
    return [row for row in places if rule.names(pool.item_ids[row], state.item if (state := states[row]) else None)]
