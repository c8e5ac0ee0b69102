"""How often each item was shown lately: what an exposure budget is spent from.

Counted by every front for itself and halved every week. What the end of the log shows is read back at the start, of all
fronts: a few minutes of a busy log, all of a quiet one. So a restart gives items some of their budget again, and
several replicas give them one budget each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from shared.domain.services import Features, Feedback
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock
from shared.kernel.errors import ServiceError

HALF_LIFE_MS = 7 * 86_400_000
RECORDS_READ_BACK = 5_000
BATCH = 50
LIMIT_S, SOON_S = 60.0, 1.0


class Exposures:
    """Decayed counts by item.

    Args:
        clock: Unix milliseconds.
        limit: items that are counted at most; those counted first go first.
    """

    def __init__(self, clock: Clock, limit: int = 50_000) -> None:
        self._clock = clock
        self._limit = limit
        self._counts: dict[str, tuple[float, int]] = {}  # count as of a moment
        self.began_ms = clock()

    def count(self, item_ids: Sequence[str], shown_ms: int) -> None:
        """These items were shown."""
        for item_id in item_ids:
            count, at_ms = self._counts.pop(item_id, (0.0, shown_ms))
            latest_ms = max(at_ms, shown_ms)
            earlier = count * _decay(latest_ms - at_ms)
            self._counts[item_id] = earlier + _decay(latest_ms - shown_ms), latest_ms
        if len(self._counts) > self._limit:
            for item_id in tuple(islice(self._counts, len(self._counts) - self._limit)):
                del self._counts[item_id]

    def of(self, item_ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N,) the counts as of now."""
        now_ms, nothing = self._clock(), (0.0, 0)
        found = (self._counts.get(item_id, nothing) for item_id in item_ids)
        counts = (count * _decay(now_ms - at_ms) if count else 0.0 for count, at_ms in found)
        return np.fromiter(counts, np.float32, len(item_ids))

    async def recover(self, feedback: Feedback, features: Features) -> None:
        """Count what the end of the log shows from before this process began; asked again until the log answers."""
        while True:
            shown = await self._shown(feedback, features)
            if shown is not None:
                break
            await asyncio.sleep(SOON_S)
        for item_ids, shown_ms in shown:
            self.count(item_ids, shown_ms)

    async def _shown(self, feedback: Feedback, features: Features) -> list[tuple[Sequence[str], int]] | None:
        found: list[tuple[Sequence[str], int]] = []
        try:
            async with asyncio.timeout(LIMIT_S):
                status = await features.status()
                if not status.head_watermark:
                    return None  # `feature` has not reached the log yet; the log is not read from its beginning
                begin = _back(Watermark.parse(status.head_watermark), RECORDS_READ_BACK)
                async for batch in feedback.tail(begin, follow=False, batch_size=BATCH):
                    facts = [record.fact for record in batch.records]
                    slates = [fact for fact in facts if isinstance(fact, ServedSlate)]
                    found += [
                        (each.shown_item_ids, each.served_ms) for each in slates if each.served_ms < self.began_ms
                    ]
        except (ServiceError, TimeoutError):
            return None  # the log is not there yet, or gone for now
        return found


def _decay(age_ms: int) -> float:
    return float(2.0 ** (-max(0, age_ms) / HALF_LIFE_MS))


def _back(head: Watermark, records: int) -> Watermark:
    return Watermark(tuple((partition, max(0, offset - records)) for partition, offset in head.positions))
