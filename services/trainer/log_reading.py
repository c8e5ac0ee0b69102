"""The event log as a data set: what `winnow train` learns from when no files are named.

Erased users are gone by themselves, with the slates that they were shown: their records carry no fact any more.
"""

from __future__ import annotations

from array import array
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from math import nan

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Dataset
from services.trainer.datasets_assembly import assemble
from services.trainer.importing import UNDATED
from services.trainer.interchange_events import RawEvents
from services.trainer.slates import NO_ANSWERS, Answers, AttributionSettings, SlateLog
from shared.domain.event_log import Fact, ItemDeletion, LogBatch
from shared.domain.events import Event, EventType
from shared.domain.items import Item, User
from shared.domain.watermark import Watermark

NAME = "event-log"
_KNOWN = frozenset(int(kind) for kind in EventType if kind)


@dataclass(frozen=True, slots=True)
class LogDataset:
    """A data set and what it holds of the log.

    Attributes:
        dataset: the events and details.
        watermark: the position that it includes.
        new: (E,) which of its events lie behind the position that was asked about.
        answers: the slates, with what followed.
    """

    dataset: Dataset
    watermark: Watermark
    new: npt.NDArray[np.bool_]
    answers: Answers


async def read_log(
    batches: AsyncIterator[LogBatch],
    *,
    for_files: bool = False,
    since: Watermark | None = None,
    attribution: AttributionSettings | None = None,
) -> LogDataset:
    """Read batches of the log, in order, to the end of the iterator.

    Events without an item and of types that this release does not know teach nothing and are left out; so are
    impressions, which say what was shown and not what was wanted. Deleted items keep their events and lose their
    details. `for_files` gives what interchange files can say: impressions too, and time 0 for an event that was
    imported without a time. Events behind `since` are told apart; without it none are. `attribution` says what counts
    as the answer to a slate; without it slates are passed over.
    """
    slates = SlateLog(attribution) if attribution else None
    collected = _Collected(_KNOWN if for_files else _KNOWN - {EventType.IMPRESSION}, undated=for_files)
    watermark = Watermark()
    async for batch in batches:
        for record in batch.records:
            if record.fact is not None:
                collected.add(record.fact, is_new=since is not None and not since.covers(record.watermark))
                if slates:
                    slates.take(record.fact)
        watermark = batch.watermark
    return LogDataset(
        collected.dataset(), watermark, collected.new_events(), slates.answers() if slates else NO_ANSWERS
    )


@dataclass(slots=True)
class _Collected:
    """Columns of the facts read so far, with ids numbered as they come."""

    kinds: frozenset[int]
    undated: bool
    users: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    item_details: dict[str, Item] = field(default_factory=dict)
    user_details: dict[str, User] = field(default_factory=dict)
    user_codes: array[int] = field(default_factory=lambda: array("i"))
    item_codes: array[int] = field(default_factory=lambda: array("i"))
    event_types: array[int] = field(default_factory=lambda: array("b"))
    values: array[float] = field(default_factory=lambda: array("f"))
    times_s: array[float] = field(default_factory=lambda: array("d"))
    new: array[int] = field(default_factory=lambda: array("b"))

    def add(self, fact: Fact, *, is_new: bool) -> None:
        match fact:
            case Event() if fact.item_id and fact.event_type in self.kinds:
                self._add_event(fact)
                self.new.append(is_new)
            case Item():
                self.item_details[fact.item_id] = fact
            case ItemDeletion():
                self.item_details.pop(fact.item_id, None)
            case User():
                self.user_details[fact.user_id] = fact
            case _:
                pass  # slates and erasures are read by others

    def _add_event(self, event: Event) -> None:
        self.user_codes.append(self.users.setdefault(event.user_id, len(self.users)))
        self.item_codes.append(self.items.setdefault(event.item_id, len(self.items)))
        self.event_types.append(event.event_type)
        self.values.append(nan if event.value is None else event.value)
        undated = self.undated and event.event_id.startswith(UNDATED)
        self.times_s.append(0.0 if undated else event.event_time_ms / 1000)

    def new_events(self) -> npt.NDArray[np.bool_]:
        """(E,) in the order of the data set, which sorts stably by time."""
        order = np.argsort(np.array(self.times_s, np.float64), kind="stable")
        return np.array(self.new, np.bool_)[order]

    def dataset(self) -> Dataset:
        events = RawEvents(
            user_names=list(self.users),
            item_names=list(self.items),
            user_codes=np.array(self.user_codes, np.int32),
            item_codes=np.array(self.item_codes, np.int32),
            event_types=np.array(self.event_types, np.int8),
            values=np.array(self.values, np.float32),
            times_s=np.array(self.times_s, np.float64),
        )
        return assemble(events, self.item_details.values(), self.user_details.values(), NAME)
