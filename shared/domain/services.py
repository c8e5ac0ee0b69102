"""What one service asks of another (ports). In one process they are met by the services' own objects, else by gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from shared.domain.attributes import AttributeUse
from shared.domain.event_log import LogBatch
from shared.domain.intake import Recorded
from shared.domain.ranking import RankingRequest, RankingResult
from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.domain.slates import ServedSlate
from shared.domain.user_state import ItemChanges, ItemState, ProjectionStatus, TopItems, TopOrder, UserState
from shared.domain.watermark import Watermark

ATTRIBUTES_LISTED = 1_000
TOP_ITEMS_LISTED = 1_000


class Feedback(Protocol):
    """The log as other services use it. Errors: `ServiceError`."""

    async def record_slates(self, slates: Sequence[ServedSlate]) -> Recorded:
        """Append served slates; each is checked for itself. Returns when all that are not refused are durable."""

    async def slate(self, recommendation_id: str) -> ServedSlate | None:
        """Read a served slate back; None when there is none."""

    def tail(self, after: Watermark, *, follow: bool, batch_size: int = 500) -> AsyncIterator[LogBatch]:
        """Records behind a position, see `EventLog.tail`."""


class Features(Protocol):
    """User and item state. Errors: `ServiceError`."""

    async def user_state(
        self, user_id: str, min_watermark: Watermark, *, history_limit: int, budget_ms: float
    ) -> UserState:
        """A user's state that includes the position, or, when `budget_ms` is not enough, a stale one."""

    async def items(self, item_ids: Sequence[str], *, include_vectors: bool = False) -> tuple[ItemState, ...]:
        """Items in request order; unknown ones with status NOT_FOUND."""

    async def top_items(
        self, order: TopOrder, *, category: str = "", limit: int = 100, page_token: str = ""
    ) -> TopItems:
        """Popular or trending items, best first, `TOP_ITEMS_LISTED` at most; by a token those behind another answer."""

    async def attributes(self) -> tuple[AttributeUse, ...]:
        """The catalogue's attributes and their types: the most used ones first, `ATTRIBUTES_LISTED` at most."""

    def watch_items(self, after: Watermark) -> AsyncIterator[ItemChanges]:
        """The catalogue (when `after` is the beginning) and then its changes, for ever."""

    async def status(self) -> ProjectionStatus:
        """How far the projection is."""


class CandidateGeneration(Protocol):
    """Retrieval. Errors: `ServiceError`."""

    async def retrieve(self, request: RetrievalRequest, *, budget_ms: float) -> RetrievalResult:
        """Candidates of every source, merged."""


class Ranking(Protocol):
    """The ranker. Errors: `ServiceError`."""

    async def rank(self, request: RankingRequest) -> RankingResult:
        """Probabilities for each candidate within the request's budget."""
