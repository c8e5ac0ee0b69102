"""What the service answers, over memory: the `Features` port for callers in the same process and for the servicer."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

from services.feature.catalogue import Catalogue
from services.feature.paging import PageTokens, invalid_token
from services.feature.projection import Projection
from services.feature.top_items import TopPlace, TopWish, top_items
from services.feature.user_entry import UserEntry
from services.feature.user_view import Categories, Lifetimes, Moment, UserView, freshness_of, view_of
from services.feature.watching import watch_items
from shared.domain.attributes import AttributeUse
from shared.domain.freshness import ANY_AGE, NOTHING_OF_USER, FeatureStatus
from shared.domain.history import HISTORY_LIMIT, History
from shared.domain.services import ATTRIBUTES_LISTED, TOP_ITEMS_LISTED
from shared.domain.user_state import ItemChanges, ItemState, ProjectionStatus, TopItems, TopOrder, UserState
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock


@dataclass(frozen=True, slots=True)
class ItemPage:
    """A page of the catalogue; an empty token ends the list."""

    items: tuple[ItemState, ...]
    next_page_token: str


@dataclass
class ProjectedFeatures:
    """Answers from the projection.

    Attributes:
        lifetimes: how long things about a user count.
        content_age_ms: content that was upserted longer ago is reported as OUTSIDE_MAX_AGE; 0: none is.
    """

    projection: Projection
    tokens: PageTokens
    clock: Clock
    lifetimes: Lifetimes
    content_age_ms: int = ANY_AGE
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
            unknown = UserState(user_id, History.empty(), freshness=NOTHING_OF_USER)
            return replace(unknown, watermark=str(applied), stale=not reached)
        moment = Moment(self.clock(), max(0, min(history_limit, HISTORY_LIMIT)))
        state = self._view(entry, moment).state
        freshness = freshness_of(entry, state, self.lifetimes, moment.now_ms)
        return replace(state, watermark=str(progress.applied), stale=not reached, freshness=freshness)

    async def items(self, item_ids: Sequence[str], *, include_vectors: bool = False) -> tuple[ItemState, ...]:
        """Items in request order. Their vectors are there in any case: leaving them out costs a copy."""
        del include_vectors
        states = self.projection.catalogue.states(item_ids)
        if self.content_age_ms == ANY_AGE:
            return tuple(states)
        oldest_ms = self.clock() - self.content_age_ms
        return tuple(_aged(state) if state.updated_ms < oldest_ms else state for state in states)

    async def top_items(
        self, order: TopOrder, *, category: str = "", limit: int = 100, page_token: str = ""
    ) -> TopItems:
        """Available items with decayed counts, best first; at most `TOP_ITEMS_LISTED`.

        Raises:
            ServiceError: PAGE_TOKEN_INVALID.
        """
        size, name = min(limit, TOP_ITEMS_LISTED), f"top/{order.name}/{category}"
        after = _place(self.tokens.open(page_token, name)) if page_token else None
        found = top_items(self.projection.catalogue, TopWish(order, category, size, self.clock(), after))
        last = TopPlace(found.scores[-1], found.item_ids[-1]) if size and len(found.item_ids) == size else None
        token = self.tokens.seal(str(last), name) if last else ""
        return replace(found, watermark=str(self.projection.progress.applied), next_page_token=token)

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

    def _view(self, entry: UserEntry, moment: Moment) -> UserView:
        catalogue, view = self.projection.catalogue, entry.view
        if isinstance(view, UserView) and view.holds(entry, catalogue.categories_version, moment):
            return view
        categories = Categories(catalogue.categories_of, catalogue.categories_version)
        entry.view = view = view_of(entry, categories, self.lifetimes, moment)
        return view


def _place(text: str) -> TopPlace:
    try:
        return TopPlace.parse(text)
    except ValueError as error:  # sealed for a page of items in a category of this name
        raise invalid_token() from error


def _aged(state: ItemState) -> ItemState:
    if state.freshness.content is not FeatureStatus.PRESENT:
        return state
    return replace(state, freshness=replace(state.freshness, content=FeatureStatus.OUTSIDE_MAX_AGE))


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
