"""How an entry's score came about, in numbers that recompute it and in one sentence for a person.

score = (Σ probability · weight) · Π factors; probability = sigmoid(scale · Σ parts + offset).
In retrieval's own order, and for a candidate without a finite score, there are no actions to add up.

`because_of` weighs the latest events of the history by what their items share with the entry (creator, categories,
tags) and by how recent they are: a comparison of content, not of the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from services.recommendation.queries import ActionContribution, Entry, Explanation, Influence
from services.recommendation.ranked_slate import RankedSlate
from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.items import Item

EVENTS_COMPARED = 32
INFLUENCES_TOLD = 3
RECENCY_DECAY = 0.97
CREATOR_SHARE, CATEGORY_SHARE, TAG_SHARE = 0.4, 0.4, 0.2
"""How much each kind of likeness counts: together 1."""

_VERBS = {
    EventType.VIEW: "viewed",
    EventType.CLICK: "looked at",
    EventType.LIKE: "liked",
    EventType.COMMENT: "commented on",
    EventType.SHARE: "shared",
    EventType.ADD_TO_CART: "put into the basket:",
    EventType.PURCHASE: "bought",
    EventType.RATING: "rated",
    EventType.DWELL: "spent time with",
}

_SENTENCES = {
    "neighbours": "because others went on to it from what you saw last",
    "retriever": "because people with a history like yours chose it",
    "similar": "because it is like what you are looking at",
    "search": "because it matches your words",
    "interests": "because it is popular in what you are interested in",
    "trending": "because it is trending now",
    "popular": "because many people choose it",
    "fresh": "because it is new",
    "caller": "because you asked to have it ranked",
    "pinned": "because it is put here for everybody",
    "underexposed": "because it is new and few have seen it",
}


def explained(
    slate: RankedSlate, page: Sequence[Entry], rows: Sequence[int], items: Mapping[str, Item]
) -> Iterator[Explanation]:
    """The explanation of each entry of a page.

    Args:
        slate: what the page was cut from.
        page: its entries.
        rows: row of each entry in the slate's candidates.
        items: content of the page's and the history's items, as far as it is known.
    """
    for entry, row in zip(page, rows, strict=True):
        because_of = influences(items.get(entry.item_id), slate.served.history, items)
        yield Explanation(
            sentence=sentence(entry, because_of, slate.served.history, items),
            actions=_actions(slate, row),
            adjustments=_adjustments(slate, row),
            expected_rating=_rating(slate, row),
            because_of=because_of,
        )


def influences(item: Item | None, history: History, items: Mapping[str, Item]) -> tuple[Influence, ...]:
    """The events that speak most for an item, strongest first, one for each item of the history."""
    if item is None:
        return ()
    strongest: dict[str, Influence] = {}
    latest = history.latest(EVENTS_COMPARED)
    ids, approving = latest.event_ids or ("",) * len(latest), approvals(latest)
    for age, place in enumerate(reversed(range(len(latest)))):
        other = items.get(latest.item_ids[place])
        if other is None or not approving[place] or other.item_id in strongest:
            continue
        weight = likeness(item, other) * RECENCY_DECAY**age
        if weight > 0:
            strongest[other.item_id] = Influence(other.item_id, ids[place], weight)
    return tuple(sorted(strongest.values(), key=lambda each: -each.influence)[:INFLUENCES_TOLD])


def approvals(history: History) -> list[bool]:
    """Which events may speak for anything: not a dislike, and no rating below the user's own mean."""
    rated = history.event_types == EventType.RATING
    ratings = history.values[rated & np.isfinite(history.values)]
    mean = float(ratings.mean()) if len(ratings) else 0.0
    kinds, values = history.event_types.tolist(), history.values.tolist()
    return [
        kind in _VERBS and (kind != EventType.RATING or value >= mean)
        for kind, value in zip(kinds, values, strict=True)
    ]


def likeness(one: Item, other: Item) -> float:
    """How much of their content two items share, 0 to 1: the creator, and categories and tags by Jaccard's index."""
    same_creator = bool(one.creator_id) and one.creator_id == other.creator_id
    return (
        CREATOR_SHARE * same_creator
        + CATEGORY_SHARE * _jaccard(one.categories, other.categories)
        + TAG_SHARE * _jaccard(one.tags, other.tags)
    )


def sentence(entry: Entry, because_of: Sequence[Influence], history: History, items: Mapping[str, Item]) -> str:
    """One short sentence: the event that speaks most for the entry, else the source that ranked it best."""
    if because_of and (title := items[because_of[0].item_id].title):
        approving = approvals(history)
        strongest = because_of[0].item_id
        place = max(row for row, name in enumerate(history.item_ids) if name == strongest and approving[row])
        return f"because you {_VERBS[EventType(int(history.event_types[place]))]} {title}"
    best = min(entry.sources, key=lambda source: source.rank, default=None)
    return _SENTENCES.get(best.source if best else "", "because it fits what is known of you")


def _adjustments(slate: RankedSlate, row: int) -> tuple[tuple[str, float], ...]:
    """Every rule that changed the entry's value, and with a factor of 1 those that put it elsewhere."""
    factors = [(rule, float(each[row])) for rule, each in slate.adjustments if each[row] != 1]
    return (*factors, *((rule, 1.0) for rule, rows in slate.moves if row in rows))


def _actions(slate: RankedSlate, row: int) -> tuple[ActionContribution, ...]:
    served, parts = slate.served, slate.parts
    if not any(served.action_weights) or not np.isfinite(served.probabilities[row]).all():
        return ()
    return tuple(
        ActionContribution(
            event_type=action,
            probability=float(served.probabilities[row, column]),
            weight=served.action_weights[column],
            parts=tuple(zip(parts.names, parts.values[row, column].tolist(), strict=True)) if parts else (),
            calibration_scale=float(parts.scales[column]) if parts else 1.0,
            calibration_offset=float(parts.offsets[column]) if parts else 0.0,
        )
        for column, action in enumerate(served.actions)
    )


def _rating(slate: RankedSlate, row: int) -> float | None:
    if not len(slate.ratings) or not np.isfinite(slate.ratings[row]):
        return None
    return float(slate.ratings[row])


def _jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    if not one or not other:
        return 0.0
    first, second = frozenset(one), frozenset(other)
    return len(first & second) / len(first | second)
