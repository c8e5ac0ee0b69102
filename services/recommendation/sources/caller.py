"""The request's own candidates."""

from __future__ import annotations

from services.recommendation.slate import Pool
from services.recommendation.stages import Found, Wish


class CallerSource:
    """The candidates that came with the request."""

    name = "caller"

    async def find(self, wish: Wish, _budget_ms: float) -> Found:
        """They, in the caller's order."""
        return Found(Pool.of(self.name, wish.query.candidate_item_ids))
