"""How facts come in and users go out (port): the writing side of feedback, in its own process or over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.domain.events import Event
from shared.domain.items import Item, User
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from shared.kernel.errors import ServiceError


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of a batch.

    Attributes:
        watermark: position of the log that includes everything that was not refused.
        refused: why, by the row of the batch; every other row is durable (now, or before when it is a repeat).
    """

    watermark: Watermark
    refused: Mapping[int, ServiceError]


@dataclass(frozen=True, slots=True)
class ErasedStore:
    """What one store held of an erased user; `done` is False where it goes when the store applies the tombstone."""

    store: str
    records: int
    done: bool


@dataclass(frozen=True, slots=True)
class UserErasure:
    """The receipt of an erasure. No stores: the user was not known.

    Attributes:
        watermark: position of the tombstone; whoever has applied it holds nothing of the user.
        model_versions: bundles whose training data held the user.
        erased_ms: when the key was destroyed, 0 when the user was not known.
    """

    stores: tuple[ErasedStore, ...]
    watermark: Watermark
    model_versions: tuple[str, ...]
    erased_ms: int


@dataclass(frozen=True, slots=True)
class UserExport:
    """A run of what is held about a user; the profile comes with the first run when there is one."""

    user: User | None
    events: tuple[Event, ...]
    slates: tuple[ServedSlate, ...]


class Intake(Protocol):
    """The only way in. Errors: `ServiceError`; then nothing of the batch was kept."""

    async def record_events(self, events: Sequence[Event]) -> Recorded:
        """Append events; each is checked for itself, a repeated `event_id` is success. Time 0: now."""

    def stream_events(self, batches: AsyncIterable[Sequence[Event]]) -> AsyncIterator[Recorded]:
        """Append a long run of batches, at most a thousand events each; one answer a batch, in order.

        Several batches are on the way at a time; the producer is asked for more only as fast as they become durable.
        After an error send again what was not acknowledged.
        """

    async def upsert_items(self, items: Sequence[Item]) -> Recorded:
        """Create or replace items."""

    async def delete_items(self, item_ids: Sequence[str]) -> Watermark:
        """Remove items; unknown ones are fine."""

    async def upsert_users(self, users: Sequence[User]) -> Recorded:
        """Create or replace profiles."""

    async def erase_user(self, user_id: str) -> UserErasure:
        """Destroy all that is held about a user."""

    def export_user(self, user_id: str) -> AsyncIterator[UserExport]:
        """All that the log holds about a user; nothing when the user is not known."""
