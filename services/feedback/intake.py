"""What comes into the log in this process: each fact is checked for itself, the good ones are appended together."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Final

from services.feedback.erasures import Erasures
from services.feedback.pipelining import BATCHES_IN_FLIGHT, in_order
from services.feedback.sent_events import read_events
from services.feedback.telemetry import REFUSED
from services.feedback.trained_bundles import TrainedBundles
from services.feedback.validation import TimeBounds, TimeRules, item_violations, slate_violations
from shared.domain.event_log import EventLog, Fact, ItemDeletion, SentEvent
from shared.domain.events import Event
from shared.domain.intake import Recorded, UserErasure, UserExport
from shared.domain.items import Item, User
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.clock import Clock
from shared.kernel.errors import FieldViolation, ServiceError, invalid_fields
from shared.kernel.validation import violations
from shared.wire.events import event_to_proto
from shared.wire.items import item_to_proto, user_to_proto

Broken = Mapping[int, tuple[FieldViolation, ...]]
"""Violations by the row of a batch."""
NOTHING_BROKEN: Final[Broken] = {}


class LogIntake:
    """Meets the port `Intake` over a log.

    Args:
        log: where it goes.
        clock: the time of receipt.
        rules: about the times of events and slates.
        bundles: what was trained on the log.
    """

    def __init__(self, log: EventLog, clock: Clock, rules: TimeRules, bundles: TrainedBundles | None = None) -> None:
        self._erasures = Erasures(log, bundles)
        self._log = log
        self._clock = clock
        self._rules = rules

    async def record_events(self, events: Sequence[Event]) -> Recorded:
        """Append events that come from this process: the rules of the contract are run too."""
        read = read_events([event_to_proto(event) for event in events], *self.moment())
        return await self._append(read.facts, read.broken)

    async def stream_events(self, batches: AsyncIterable[Sequence[Event]]) -> AsyncIterator[Recorded]:
        """Append a long run of batches; several wait for the disk at once, so that they share a commit."""
        async with aclosing(in_order(batches, self.record_events, BATCHES_IN_FLIGHT)) as answers:
            async for recorded in answers:
                yield recorded

    async def record_slates(self, slates: Sequence[ServedSlate | None], broken: Broken = NOTHING_BROKEN) -> Recorded:
        """Append slates; one that is None could not be read, and `broken` says why."""
        bounds = self._rules.at(self._clock())
        refused = dict(broken)
        for row, slate in enumerate(slates):
            if slate is not None and (found := slate_violations(slate, bounds, f"slates[{row}]")):
                refused[row] = refused.get(row, ()) + found
        return await self._append(slates, refused)

    async def upsert_items(self, items: Sequence[Item]) -> Recorded:
        """Append items that come from this process: the rules of the contract are run too."""
        broken: dict[int, tuple[FieldViolation, ...]] = {}
        for row, item in enumerate(items):
            path = f"items[{row}]"
            if found := violations(item_to_proto(item), path) + item_violations(item, item.attributes, path):
                broken[row] = found
        return await self._append(items, broken)

    async def upsert_users(self, users: Sequence[User]) -> Recorded:
        """Append profiles that come from this process: the rules of the contract are run too."""
        rows = enumerate(users)
        broken = {row: found for row, user in rows if (found := violations(user_to_proto(user), f"users[{row}]"))}
        return await self._append(users, broken)

    def moment(self) -> tuple[TimeBounds, int]:
        """What is asked of times now, and the time of receipt."""
        now_ms = self._clock()
        return self._rules.at(now_ms), now_ms

    async def append_checked(self, facts: Sequence[Fact | SentEvent], broken: Broken) -> Recorded:
        """Append events, items or profiles that were checked: `broken` says what was found."""
        return await self._append(facts, broken)

    async def delete_items(self, item_ids: Sequence[str]) -> Watermark:
        """Append deletions."""
        return await self._log.append([ItemDeletion(item_id) for item_id in item_ids])

    async def erase_user(self, user_id: str) -> UserErasure:
        """Destroy the user's key, see `Erasures`."""
        return await self._erasures.erase(user_id)

    async def close(self) -> None:
        """End what goes on for callers that are gone."""
        await self._erasures.close()

    async def export_user(self, user_id: str) -> AsyncIterator[UserExport]:
        """All that the log holds about a user: two passes, because the latest profile comes first."""
        profile: User | None = None
        async for batch in self._log.user_records(user_id):
            for record in batch.records:
                profile = record.fact if isinstance(record.fact, User) else profile
        if profile is not None:
            yield UserExport(profile, (), ())
        async for batch in self._log.user_records(user_id):
            facts = [record.fact for record in batch.records]
            events = tuple(fact for fact in facts if isinstance(fact, Event))
            slates = tuple(fact for fact in facts if isinstance(fact, ServedSlate))
            if events or slates:
                yield UserExport(None, events, slates)

    async def _append(self, facts: Sequence[Fact | SentEvent | None], broken: Broken) -> Recorded:
        refused: dict[int, ServiceError] = {row: invalid_fields(found) for row, found in broken.items()}
        REFUSED.inc(len(refused))
        good = [fact for row, fact in enumerate(facts) if row not in refused and fact is not None]
        return Recorded(await self._log.append(good), refused)
