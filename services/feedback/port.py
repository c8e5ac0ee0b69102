"""The port `Feedback` over a log: what the other services of the same process call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from services.feedback.intake import LogIntake
from shared.domain.event_log import EventLog, LogBatch
from shared.domain.intake import Recorded
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark


class LogFeedback:
    """Meets the port `Feedback`.

    Args:
        log: the event log.
        intake: what slates go through on their way into it.
    """

    def __init__(self, log: EventLog, intake: LogIntake) -> None:
        self._log = log
        self._intake = intake

    async def record_slates(self, slates: Sequence[ServedSlate]) -> Recorded:
        """Append served slates; each is checked for itself, one that is there already is left out."""
        return await self._intake.record_slates(slates)

    async def slate(self, recommendation_id: str) -> ServedSlate | None:
        """Read a served slate back."""
        return await self._log.slate(recommendation_id)

    def tail(self, after: Watermark, *, follow: bool, batch_size: int = 500) -> AsyncIterator[LogBatch]:
        """Records behind a position."""
        return self._log.tail(after, follow=follow, batch_size=batch_size)
