"""The one event log (port): facts go in once, in order, and everything else is rebuilt from them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from shared.domain.events import Event
from shared.domain.expiry import Expiry
from shared.domain.items import Item, User
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark


@dataclass(frozen=True, slots=True)
class ItemDeletion:
    """An item left the catalogue."""

    item_id: str


@dataclass(frozen=True, slots=True)
class Erasure:
    """A user was erased; the record's subject says who, by pseudonym."""

    requested_ms: int


Fact = Event | ServedSlate | Item | ItemDeletion | User | Erasure | Expiry


class SentEvent(NamedTuple):
    """An event on its way into the log as it was sent: to make an `Event` of it costs more than to store it.

    Attributes:
        payload: the event as the log stores a fact.
    """

    event_id: str
    user_id: str
    payload: bytes


class LogRecord(NamedTuple):
    """One fact at its place. A tuple for the reason that `Event` is one.

    Attributes:
        watermark: position behind this record.
        recorded_ms: when it was appended, Unix milliseconds.
        subject: stable pseudonym of the user that it is about; changes after an erasure; "" for catalogue facts.
        fact: None when its user was erased, or when it is of a kind of the future.
    """

    watermark: Watermark
    recorded_ms: int
    subject: str
    fact: Fact | None


@dataclass(frozen=True, slots=True)
class LogBatch:
    """A run of records. `watermark` equals `head` when the reader has caught up."""

    records: tuple[LogRecord, ...]
    watermark: Watermark
    head: Watermark


@dataclass(frozen=True, slots=True)
class ErasureReceipt:
    """What an erasure removed from the log.

    Attributes:
        watermark: position of the tombstone.
        records: payloads that can no longer be read.
        erased_ms: when the key was destroyed.
        first: the position behind the first of the records; None where there was none.
    """

    watermark: Watermark
    records: int
    erased_ms: int
    first: Watermark | None = None


class EventLog(Protocol):
    """An append-only log with one key a user under which the user's payloads are stored.

    Records past retention are gone: their offsets are passed over, and an `Expiry` in the log says what that was. Of
    the upserts of an item the first and the latest are there, those between them need not be.
    Every method that writes returns after the write is durable. Errors: `ServiceError` with STORAGE_FULL (nothing was
    kept, reads go on) or STORAGE_UNAVAILABLE.
    """

    async def append(self, facts: Sequence[Fact | SentEvent]) -> Watermark:
        """Append facts in order; an event or slate whose id is in the log already is left out (success).

        Returns a position that includes all of them, repeats too.
        """

    def tail(self, after: Watermark, *, follow: bool, batch_size: int = 500) -> AsyncIterator[LogBatch]:
        """Batches behind a position; with `follow` it goes on for ever and gives an empty batch when it catches up."""

    async def head(self) -> Watermark:
        """The position behind the last record."""

    async def slate(self, recommendation_id: str) -> ServedSlate | None:
        """The first page's slate of an id, None when there is none (never served, erased, past retention)."""

    def user_records(self, user_id: str) -> AsyncIterator[LogBatch]:
        """Everything that is held about a user, oldest first."""

    async def erase(self, user_id: str) -> ErasureReceipt | None:
        """Destroy the user's key and append the tombstone; None when the user is not known."""
