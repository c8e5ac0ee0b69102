"""What the service answers, over memory: the `Features` port for callers in the same process and for the servicer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from services.feature.catalogue import Catalogue
from services.feature.paging import PageTokens
from services.feature.projection import Projection
from services.feature.top_items import top_items
from services.feature.user_entry import UserEntry
from services.feature.user_view import Categories, UserView, view_of
from services.feature.watching import watch_items
from shared.domain.attributes import AttributeUse
from shared.domain.history import HISTORY_LIMIT, History
from shared.domain.services import ATTRIBUTES_LISTED
from shared.domain.user_state import ItemChanges, ItemState, ProjectionStatus, TopItems, TopOrder, UserState
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock

TOP_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class ItemPage:
    """A page of the catalogue; an empty token ends the list."""

    items: tuple[ItemState, ...]
    next_page_token: str


@dataclass
class ProjectedFeatures:
    """Answers from the projection.

    Attributes:
        served_expiry_ms: how long a served item counts as served.
    """

    projection: Projection
    tokens: PageTokens
    clock: Clock
    served_expiry_ms: int
    _ids: _SortedIds = field(default_factory=lambda: _SortedIds())  # noqa: PLW0108  # the class stands below

    async def user_state(
        self, user_id: str, min_watermark: Watermark, *, history_limit: int, budget_ms: float
    ) -> UserState:
        """A user's state; stale when the position was not reached within the budget."""
        progress = self.projection.progress
        reached = await progress.reach(min_watermark, budget_ms)
        entry, applied = self.projection.users.get(user_id), progress.applied
        if entry is None:
            entry = await self.projection.users.find(user_id)
        if entry is None:  # what arrived meanwhile may be about this user: only what was there before is included
            return UserState(user_id, History.empty(), watermark=str(applied), stale=not reached)
        state = self._view(entry, max(0, min(history_limit, HISTORY_LIMIT))).state
        return replace(state, watermark=str(progress.applied), stale=not reached)

    async def items(self, item_ids: Sequence[str], *, include_vectors: bool = False) -> tuple[ItemState, ...]:
        """Items in request order. Their vectors are there in any case: leaving them out costs a copy."""
        del include_vectors
        return tuple(self.projection.catalogue.states(item_ids))

    async def top_items(self, order: TopOrder, *, category: str = "", limit: int = 100) -> TopItems:
        """Available items with decayed counts, best first; at most `TOP_LIMIT`."""
        size = min(limit, TOP_LIMIT)
        found = top_items(self.projection.catalogue, order, category=category, limit=size, now_ms=self.clock())
        return replace(found, watermark=str(self.projection.progress.applied))

    async def attributes(self) -> tuple[AttributeUse, ...]:
        """The catalogue's attributes, the most used ones first."""
        return self.projection.catalogue.attributes.most_used(ATTRIBUTES_LISTED)

    def watch_items(self, after: Watermark) -> AsyncIterator[ItemChanges]:
        """The catalogue and then its changes, see `watching`."""
        return watch_items(self.projection, after)

    async def status(self) -> ProjectionStatus:
        """How far the projection is."""
        progress = self.projection.progress
        return ProjectionStatus(
            watermark=str(progress.applied),
            head_watermark="" if progress.head is None else str(progress.head),
            caught_up=progress.caught_up,
            users=self.projection.users.count,
            items=self.projection.catalogue.present,
            applied_records=progress.records,
            applied_ms=progress.applied_ms,
            replay=progress.replay,
            problems=tuple(f"the {what} cannot be used: {why}" for what, why in sorted(progress.failures.items())),
        )

    def list_items(self, *, category: str, page_size: int, page_token: str) -> ItemPage:
        """One page of the present items in the order of ids.

        Raises:
            ServiceError: PAGE_TOKEN_INVALID.
        """
        catalogue = self.projection.catalogue
        ids = self._ids.of(catalogue, category)
        start = bisect_right(ids, self.tokens.open(page_token, category)) if page_token else 0
        page = ids[start : start + page_size]
        more = start + page_size < len(ids)
        return ItemPage(tuple(catalogue.states(page)), self.tokens.seal(page[-1], category) if more else "")

    def _view(self, entry: UserEntry, history_limit: int) -> UserView:
        catalogue = self.projection.catalogue
        expired_before_ms = self.clock() - self.served_expiry_ms
        view = entry.view
        if isinstance(view, UserView) and view.holds(
            entry, catalogue.categories_version, history_limit, expired_before_ms
        ):
            return view
        categories = Categories(catalogue.categories_of, catalogue.categories_version)
        view = view_of(entry, categories, history_limit=history_limit, expired_before_ms=expired_before_ms)
        entry.view = view
        return view


class _SortedIds:
    """Ids of the present items in order, sorted again when the catalogue changed."""

    def __init__(self) -> None:
        self._key: tuple[Catalogue, int, str] | None = None
        self._ids: list[str] = []

    def of(self, catalogue: Catalogue, category: str) -> list[str]:
        """Ids of a category, or of all."""
        key = (catalogue, catalogue.changes, category)
        if self._key != key:
            self._key = key
            self._ids = sorted(_present_ids(catalogue, category))
        return self._ids


def _present_ids(catalogue: Catalogue, category: str) -> list[str]:
    if not category:
        return [entry.item_id for entry in catalogue.entries.values() if entry.item is not None]
    rows = catalogue.by_category.get(category, {})
    return [entry.item_id for row in rows if (entry := catalogue.by_row[row]) is not None]
