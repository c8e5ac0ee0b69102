"""Which events of the history speak for an entry.

Exactly: the ranker scores the page again without each of the latest events, all in one call, and what the score loses
is the event's influence (leave-one-out; everything else, the rules' factors too, stays as it was).

By likeness, where the ranker cannot be asked: what the event's item shares with the entry (creator, categories, tags),
the latest events louder. A comparison of content, not of the model.

Dimensions: E events left out, P entries, A actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from services.recommendation.guarded import Guarded
from services.recommendation.queries import Influence
from services.recommendation.ranked_slate import RankedSlate
from services.recommendation.slate import Rows
from services.recommendation.stages import Journey, Lost
from services.recommendation.values import check_answer
from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.ranking import RankingRequest, RankingResult
from shared.domain.services import Ranking
from shared.domain.slates import ServedSlate

EVENTS_COMPARED = 32
INFLUENCES_TOLD = 3
LEAST_LOSS = 1e-6
"""A smaller loss, as a share of the surface's greatest weight, is as good as none."""

ASKING_SHARE = 0.6
"""Part of what is left of the budget that the ranker may take."""

RECENCY_DECAY = 0.97
CREATOR_SHARE, CATEGORY_SHARE, TAG_SHARE = 0.4, 0.4, 0.2
"""How much each kind of likeness counts: together 1."""

Losses = npt.NDArray[np.float64]

VERBS = {
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


class Influences:
    """Asks the ranker what each event did."""

    def __init__(self, ranking: Guarded[Ranking]) -> None:
        self._ranking = ranking

    async def losses(self, slate: RankedSlate, rows: Rows, journey: Journey) -> Losses | None:
        """(E, P) what the entries' scores would lose without each of the latest events, the latest first.

        None, and a loss in the list, where the ranker does not tell; None without one where it had no part.
        """
        served = slate.served
        if not any(served.action_weights) or not len(served.history):
            return None
        try:
            result = await self._asked(served, rows, journey)
        except Lost as lost:
            journey.lose("explain", lost.reason, f"{lost.detail}; events are compared with the entries by content")
            return None
        weighed = dict(zip(served.actions, served.action_weights, strict=True))
        weights = np.array([weighed.get(action, 0.0) for action in result.actions])  # (A,)
        whole, without = result.probabilities.astype(np.float64), result.without_event.astype(np.float64)
        factors = np.prod([each[rows] for _, each in slate.adjustments], axis=0)  # (P,), or 1.0 without rules
        found = np.asarray(((whole - without) @ weights) * factors)  # (E, P)
        found[~np.isfinite(found) | (np.abs(found) < LEAST_LOSS * np.abs(weights).max())] = 0
        return found

    async def _asked(self, served: ServedSlate, rows: Rows, journey: Journey) -> RankingResult:
        budget_ms = journey.budget.share_ms(ASKING_SHARE)
        request = RankingRequest(
            history=served.history,
            candidates=served.candidates.take(rows),
            time_ms=served.context.time_ms,
            user=served.user,
            context=served.context,
            budget_ms=max(1, int(budget_ms)),
            leave_out=EVENTS_COMPARED,
        )
        result = await self._ranking.ask(lambda port: port.rank(request), budget_ms)
        check_answer(result, len(rows))
        events = min(len(served.history), EVENTS_COMPARED)
        if result.without_event.shape != (events, *result.probabilities.shape):
            raise Lost("invalid-answer", f"the ranker gave {result.without_event.shape} scores without {events} events")
        return result


def by_loss(losses: npt.NDArray[np.float64], history: History) -> tuple[Influence, ...]:
    """The events that a score would lose most without, strongest first.

    Args:
        losses: (E,) by event, the latest first.
        history: the slate's.
    """
    order = [age for age in np.argsort(-losses, kind="stable").tolist()[:INFLUENCES_TOLD] if losses[age] > 0]
    places = [len(history) - 1 - age for age in order]
    ids = history.event_ids or ("",) * len(history)
    return tuple(
        Influence(history.item_ids[place], ids[place], float(losses[age]), place)
        for age, place in zip(order, places, strict=True)
    )


def by_likeness(item: Item | None, history: History, items: Mapping[str, Item]) -> tuple[Influence, ...]:
    """The events that speak most for an item, strongest first, one for each item of the history."""
    if item is None:
        return ()
    strongest: dict[str, Influence] = {}
    latest = history.latest(EVENTS_COMPARED)
    offset = len(history) - len(latest)
    ids, approving = latest.event_ids or ("",) * len(latest), approvals(latest)
    for age, place in enumerate(reversed(range(len(latest)))):
        other = items.get(latest.item_ids[place])
        if other is None or not approving[place] or other.item_id in strongest:
            continue
        weight = likeness(item, other) * RECENCY_DECAY**age
        if weight > 0:
            strongest[other.item_id] = Influence(other.item_id, ids[place], weight, offset + place)
    return tuple(sorted(strongest.values(), key=lambda each: -each.influence)[:INFLUENCES_TOLD])


def approvals(history: History) -> list[bool]:
    """Which events may speak for anything: not a dislike, and no rating below the user's own mean."""
    rated = history.event_types == EventType.RATING
    ratings = history.values[rated & np.isfinite(history.values)]
    mean = float(ratings.mean()) if len(ratings) else 0.0
    kinds, values = history.event_types.tolist(), history.values.tolist()
    return [
        kind in VERBS and (kind != EventType.RATING or value >= mean) for kind, value in zip(kinds, values, strict=True)
    ]


def likeness(one: Item, other: Item) -> float:
    """How much of their content two items share, 0 to 1: the creator, and categories and tags by Jaccard's index."""
    same_creator = bool(one.creator_id) and one.creator_id == other.creator_id
    return (
        CREATOR_SHARE * same_creator
        + CATEGORY_SHARE * _jaccard(one.categories, other.categories)
        + TAG_SHARE * _jaccard(one.tags, other.tags)
    )


def _jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    if not one or not other:
        return 0.0
    first, second = frozenset(one), frozenset(other)
    return len(first & second) / len(first | second)
