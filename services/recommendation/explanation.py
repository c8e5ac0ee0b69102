"""How an entry's score came about, in numbers that recompute it and in one sentence for a person.

score = (Σ probability · weight) · Π factors; probability = sigmoid(scale · Σ parts + offset).
In retrieval's own order, and for a candidate without a finite score, there are no actions to add up.

Which events of the history speak for an entry is found in `influence.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from services.recommendation.influence import VERBS, Losses, approvals, by_likeness, by_loss
from services.recommendation.queries import ActionContribution, Entry, Explanation, Influence, InfluenceMethod
from services.recommendation.ranked_slate import RankedSlate
from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.items import Item

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
    slate: RankedSlate, page: Sequence[Entry], rows: Sequence[int], items: Mapping[str, Item], losses: Losses | None
) -> Iterator[Explanation]:
    """The explanation of each entry of a page.

    Args:
        slate: what the page was cut from.
        page: its entries.
        rows: row of each entry in the slate's candidates.
        items: content of the page's and the history's items, as far as it is known.
        losses: (E, P) what each entry's score would lose without each of the latest events, the latest first; None
            where the ranker could not be asked.
    """
    history = slate.served.history
    for place, (entry, row) in enumerate(zip(page, rows, strict=True)):
        if losses is None:
            method, because_of = InfluenceMethod.LIKENESS, by_likeness(items.get(entry.item_id), history, items)
        else:
            method, because_of = InfluenceMethod.LEAVE_ONE_OUT, by_loss(losses[:, place], history)
        yield Explanation(
            sentence=sentence(entry, because_of, history, items),
            actions=_actions(slate, row),
            adjustments=_adjustments(slate, row),
            expected_rating=_rating(slate, row),
            because_of=because_of,
            influence_method=method if because_of else InfluenceMethod.NONE,
        )


def sentence(entry: Entry, because_of: Sequence[Influence], history: History, items: Mapping[str, Item]) -> str:
    """One short sentence: the event that speaks most for the entry, else the source that ranked it best."""
    approving = approvals(history)
    for each in because_of:
        item = items.get(each.item_id)
        if item is not None and item.title and approving[each.place]:
            return f"because you {VERBS[EventType(int(history.event_types[each.place]))]} {item.title}"
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
