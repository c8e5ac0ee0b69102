"""What the front still knows when the services behind it do not answer: last-known items, popular ones and neighbours.

Bounded, in memory only, and never asked while the owner of the knowledge answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from services.recommendation.ranker_inputs import NEIGHBOURS
from services.recommendation.slate import Pool
from shared.domain.history import History
from shared.domain.user_state import ItemState

NEIGHBOURS_KEPT = 20
HISTORY_ASKED = 5


class Memory:
    """Last-known answers.

    Args:
        limit: items, and items with neighbours, that are kept at most; the oldest go first.
    """

    def __init__(self, limit: int = 50_000) -> None:
        self._limit = limit
        self._states: dict[str, ItemState] = {}
        self._neighbours: dict[str, tuple[str, ...]] = {}
        self._popular: tuple[str, ...] = ()

    def keep_items(self, states: Iterable[ItemState]) -> None:
        """Remember what the catalogue said."""
        self._states.update((state.item_id, state) for state in states)
        _trim(self._states, self._limit)

    def keep_popular(self, item_ids: Sequence[str]) -> None:
        """Remember the popular items, best first."""
        self._popular = tuple(item_ids)

    def keep_neighbours(self, history: History, pool: Pool) -> None:
        """Remember what retrieval gave as neighbours of the latest item of a history."""
        hits = next((hits for hits in pool.sources if hits.source == NEIGHBOURS and len(hits.rows)), None)
        if hits is not None and len(history):
            best = tuple(pool.item_ids[row] for row in hits.rows[:NEIGHBOURS_KEPT])
            self._neighbours[history.item_ids[-1]] = best
            _trim(self._neighbours, self._limit)

    def items(self, item_ids: Sequence[str]) -> tuple[ItemState | None, ...]:
        """What was known of each item last; None where nothing was."""
        return tuple(map(self._states.get, item_ids))

    def popular(self) -> Pool:
        """The popular items that were known last."""
        return Pool.of("popular", self._popular)

    def neighbours(self, history: History) -> Pool:
        """Neighbours of the latest items of a history, those of the latest first."""
        latest = history.item_ids[: -HISTORY_ASKED - 1 : -1]
        found = [item_id for known in latest for item_id in self._neighbours.get(known, ())]
        return Pool.of(NEIGHBOURS, found)


def _trim(kept: dict[str, object] | dict[str, ItemState] | dict[str, tuple[str, ...]], limit: int) -> None:
    if len(kept) > limit:
        for key in tuple(islice(kept, len(kept) - limit // 2)):
            del kept[key]
