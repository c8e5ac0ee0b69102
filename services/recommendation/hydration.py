"""What is known of the user and of the items, and what is used where the feature store does not answer."""

from __future__ import annotations

from dataclasses import replace

from services.recommendation.guarded import Guarded
from services.recommendation.memory import Memory
from services.recommendation.queries import Query
from services.recommendation.slate import Pool, Viewer
from services.recommendation.stages import Journey, Lost
from shared.domain.events import CONSUMING, EventType
from shared.domain.history import History
from shared.domain.services import Features
from shared.domain.user_state import UserState
from shared.domain.watermark import Watermark

HISTORY_EVENTS = 200
"""The latest events that models are shown: as many as the longest sequence they are trained on."""

WAITING_SHARE = 0.8
"""Part of the call's time that the store may wait for a watermark: the rest is for the answer that it is stale."""


class ViewerHydration:
    """Finds out whom a slate is for."""

    def __init__(self, features: Guarded[Features]) -> None:
        self._features = features

    async def stored(self, query: Query, journey: Journey, share: float) -> Viewer:
        """The user's state in the feature store; a stale one is listed."""
        budget_ms = journey.budget.share_ms(share)
        state = await self._features.ask(
            lambda port: port.user_state(
                query.user_id,
                query.min_watermark,
                history_limit=HISTORY_EVENTS,
                budget_ms=budget_ms * WAITING_SHARE,
            ),
            budget_ms,
        )
        if state.stale:
            _list_stale(query.min_watermark, state.watermark, journey)
        return _viewer(state)

    async def from_session(self, query: Query, journey: Journey, share: float) -> Viewer:
        """What the request itself says: the anonymous session's events, or nothing."""
        viewer = session_viewer(query)
        if query.min_watermark.positions and not query.user_id:
            await self._check_watermark(query.min_watermark, journey, share)
        return viewer

    async def _check_watermark(self, asked: Watermark, journey: Journey, share: float) -> None:
        try:
            status = await self._features.ask(lambda port: port.status(), journey.budget.share_ms(share))
        except Lost as lost:
            journey.lose("hydrate", lost.reason, f"{lost.detail}; the answer may not include {asked}")
            return
        if not Watermark.parse(status.watermark).covers(asked):
            _list_stale(asked, status.watermark, journey)


class ItemHydration:
    """Reads all candidates in one batch."""

    def __init__(self, features: Guarded[Features], memory: Memory) -> None:
        self._features = features
        self._memory = memory

    async def read(self, pool: Pool, budget_ms: float) -> Pool:
        """The pool with the catalogue's present knowledge."""
        if not len(pool):
            return pool
        states = await self._features.ask(lambda port: port.items(pool.item_ids), budget_ms)
        if len(states) != len(pool):
            raise Lost("invalid-answer", f"feature gave {len(states)} items for {len(pool)} ids")
        self._memory.keep_items(states)
        return replace(pool, states=states)

    async def remembered(self, pool: Pool) -> Pool:
        """The pool with what was known last."""
        return replace(pool, states=self._memory.items(pool.item_ids))


def session_viewer(query: Query) -> Viewer:
    """An anonymous session as a viewer: nothing but its own events, in the order of their times, none in the future.

    Its impressions say what it was served.
    """
    now_ms = query.time_ms
    timed = [
        event._replace(event_time_ms=min(event.event_time_ms or now_ms, now_ms))
        for event in query.session_events
        if event.item_id
    ]
    blocks = (each for each in query.session_events if each.event_type == EventType.HIDE and not each.item_id)
    timed.sort(key=lambda event: event.event_time_ms)
    consuming = [event for event in timed if event.event_type in CONSUMING]
    seen = [event.item_id for event in reversed(timed) if event.event_type == EventType.IMPRESSION]
    return Viewer(
        history=History.of(consuming).latest(HISTORY_EVENTS),
        consumed=frozenset(event.item_id for event in consuming),
        hidden=frozenset(event.item_id for event in timed if event.event_type == EventType.HIDE),
        served=tuple(dict.fromkeys(seen)),
        blocked=frozenset(event.target_id for event in blocks if event.target_id),
    )


def _viewer(state: UserState) -> Viewer:
    return Viewer(
        history=state.history,
        consumed=state.consumed_item_ids,
        hidden=state.hidden_item_ids,
        blocked=state.blocked_ids,
        served=state.served_item_ids,
        affinities=state.category_affinities,
        profile=state.profile,
        watermark=state.watermark,
    )


def _list_stale(asked: Watermark, reached: str, journey: Journey) -> None:
    journey.lose("hydrate", "stale", f"the state reaches {reached or 'the beginning'} and not {asked} yet")
