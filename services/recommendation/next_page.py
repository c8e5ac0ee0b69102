"""The next page of a slate: from memory, else from the log; checked against what happened since.

What the user consumed or hid meanwhile, and what was deleted, is skipped; the page is filled from behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.recommendation.guarded import Guarded
from services.recommendation.hydration import ItemHydration, ViewerHydration, session_viewer
from services.recommendation.paging import PageTokens, Place
from services.recommendation.queries import Query
from services.recommendation.ranked_slate import RankedSlate
from services.recommendation.recording import SlateRecorder
from services.recommendation.reserve import Reserve
from services.recommendation.slate import Pool, Rows, Viewer
from services.recommendation.stages import Filter, Journey, Lost
from shared.domain.services import Feedback

SLATE_SHARE, VIEWER_SHARE, ITEMS_SHARE = 0.5, 0.3, 0.5
"""Parts of what is left of the budget that each call may take."""

ON_ITS_WAY_MS = 2_000
"""A slate of another replica may need so long to come to the log; younger ones are not taken for gone."""

SLACK = 20
"""Rows read at once beyond the page, in place of those that may be skipped."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What a later page shows.

    Attributes:
        slate: the record of this page: the first page's inputs, this page's rows.
        position: position of its first entry.
        next_place: where the page after it begins; None when there is none.
    """

    slate: RankedSlate
    position: int
    next_place: Place | None


@dataclass(frozen=True, slots=True)
class LateChecks:
    """What a row must pass again before it is shown on a later page."""

    viewers: ViewerHydration
    items: ItemHydration
    filters: Sequence[Filter]
    item_filters: Sequence[Filter]


@dataclass(frozen=True, slots=True)
class Slates:
    """Where a slate that was served is found again: in memory, on its way to the log, in the log."""

    reserve: Reserve
    recorder: SlateRecorder
    feedback: Guarded[Feedback]

    async def find(self, recommendation_id: str, budget_ms: float) -> RankedSlate | None:
        """The slate, None when nobody has it.

        Raises:
            Lost: the log cannot be read.
        """
        if kept := self.reserve.find(recommendation_id):
            return kept
        served = self.recorder.find(recommendation_id)
        if served is None:
            served = await self.feedback.ask(lambda port: port.slate(recommendation_id), budget_ms)
        return None if served is None else RankedSlate.logged(served)


class NextPages:
    """Cuts later pages."""

    def __init__(self, tokens: PageTokens, slates: Slates, checks: LateChecks) -> None:
        self._tokens = tokens
        self._slates = slates
        self._checks = checks

    async def cut(self, query: Query, served_ms: int, journey: Journey) -> Cut | None:
        """The page that the query's token names; None, and a loss in the list, when the log cannot be read now.

        Raises:
            ServiceError: PAGE_TOKEN_INVALID, PAGE_TOKEN_EXPIRED.
        """
        place = self._tokens.read(query)
        slate = await self._find(query, place, journey)
        if slate is None:
            return None
        journey.model_version = slate.served.provenance.model_version
        journey.index_version = slate.served.provenance.index_version
        viewer = await self._viewer(query, journey)
        journey.watermark = viewer.watermark or slate.served.provenance.watermark
        rows, end = await self._allowed(slate, query, viewer, place.row_place, journey)
        served = replace(
            slate.served,
            served_ms=served_ms,
            shown_rows=rows,
            propensities=np.ones(len(rows), np.float32),
            reserve_rows=slate.rows[end:],
            first_position=place.position,
        )
        after = Place(place.recommendation_id, end, place.position + len(rows))
        return Cut(replace(slate, served=served), place.position, after if end < len(slate.rows) else None)

    async def _find(self, query: Query, place: Place, journey: Journey) -> RankedSlate | None:
        try:
            slate = await self._slates.find(place.recommendation_id, journey.budget.share_ms(SLATE_SHARE))
        except Lost as lost:
            journey.lose("page", "page-lost", f"{lost.detail}; the same token may be used again")
            return None
        if slate is None and self._tokens.age_ms(query) < ON_ITS_WAY_MS:
            journey.lose("page", "page-lost", "the slate is on its way to the log; the same token may be used again")
            return None
        if slate is None or slate.served.user_id != query.user_id:
            raise self._tokens.gone(query)
        return slate

    async def _viewer(self, query: Query, journey: Journey) -> Viewer:
        if not query.user_id:
            return session_viewer(query)
        try:
            return await self._checks.viewers.stored(query, journey, VIEWER_SHARE)
        except Lost as lost:
            journey.lose("hydrate", lost.reason, f"{lost.detail}; what happened since the first page is not known")
            return Viewer()

    async def _allowed(
        self, slate: RankedSlate, query: Query, viewer: Viewer, begin: int, journey: Journey
    ) -> tuple[Rows, int]:
        """The rows of the page, and the place behind the last row that was looked at."""
        order, page = slate.rows, np.empty(0, np.int32)
        while len(page) < query.page_size and begin < len(order):
            chunk = order[begin : begin + query.page_size - len(page) + SLACK]
            kept = await self._kept(slate, chunk, query, viewer, journey)
            page = np.concatenate((page, chunk[kept]))
            begin += len(chunk)
            if len(page) > query.page_size:  # what stands behind the page is looked at again for the next one
                begin -= len(chunk) - int(kept[len(kept) - (len(page) - query.page_size)])
                page = page[: query.page_size]
        return page, begin

    async def _kept(self, slate: RankedSlate, rows: Rows, query: Query, viewer: Viewer, journey: Journey) -> Rows:
        """Places of the rows that may be shown, ascending."""
        ids = [slate.served.candidates.item_ids[row] for row in rows.tolist()]
        pool = journey.filter(self._checks.filters, query, viewer, Pool.of("page", ids))
        try:
            pool = await self._checks.items.read(pool, journey.budget.share_ms(ITEMS_SHARE))
        except Lost as lost:
            journey.lose("hydrate-items", lost.reason, f"{lost.detail}; used instead: what was known last")
            pool = await self._checks.items.remembered(pool)
        pool = journey.filter(self._checks.item_filters, query, viewer, pool)
        place_of = {item_id: place for place, item_id in enumerate(ids)}
        return np.array([place_of[item_id] for item_id in pool.item_ids], np.int32)
