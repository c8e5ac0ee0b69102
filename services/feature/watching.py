"""The stream of catalogue changes.

A reader has no queue: it keeps the number of the last change that it was given, and gets whatever changed behind it in
its present state. So a slow reader holds no memory and an item that changed ten times meanwhile is sent once. Content
vectors that came after the item are no fact of the log: a reader that comes back is sent them once more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from services.feature.catalogue import Catalogue
from services.feature.item_entry import ItemEntry
from services.feature.projection import Projection
from shared.domain.user_state import ItemChanges, ItemStatus
from shared.domain.watermark import Watermark
from shared.kernel.errors import ErrorReason, ServiceError

RUN_LENGTH = 64
"""Items in one message: with the largest vectors allowed it stays below 16 MB."""


Key = tuple[int, int, str]
"""Partition, offset there and id of a changed item."""


@dataclass(frozen=True, slots=True)
class _End:
    """What a message says of the reader's position behind it."""

    watermark: Watermark
    caught_up: bool


async def watch_items(projection: Projection, after: Watermark) -> AsyncIterator[ItemChanges]:
    """The catalogue, or what changed in it after a position, and then its changes for ever.

    `caught_up` comes with the end of a run once the projection itself has caught up with the log.

    Raises:
        ServiceError: WATERMARK_INVALID, when the log never was at that position.
    """
    progress = projection.progress
    life, seen = progress.life, 0
    _check(after, progress.head)
    while True:
        catalogue, applied, told = projection.catalogue, progress.applied, progress.ready
        changed = [
            entry
            for entry in catalogue.changed_since(seen)
            if entry.offset > after.offset(entry.partition) or entry.enriched > seen
        ]
        seen = catalogue.changes
        for changes in _run(catalogue, changed, after, _End(applied, caught_up=told)):
            yield changes
        after = after.joined(applied)
        while progress.life == life and catalogue.changes == seen and told == progress.ready:
            await progress.next_move()
        if progress.life != life:
            raise _invalid(after)


def _run(catalogue: Catalogue, changed: Sequence[ItemEntry], after: Watermark, end: _End) -> Iterator[ItemChanges]:
    """Messages of a run in log order; each says the position behind it: a reader cut off goes on from there."""
    ordered = sorted((entry.partition, entry.offset, entry.item_id) for entry in changed)
    for start in range(0, len(ordered), RUN_LENGTH):
        part = ordered[start : start + RUN_LENGTH]
        if start + RUN_LENGTH < len(ordered):
            yield _changes(catalogue, part, _End(_between(after, end.watermark, part[-1]), caught_up=False))
        else:
            yield _changes(catalogue, part, end)
    if not ordered:
        yield _changes(catalogue, (), end)


def _between(after: Watermark, applied: Watermark, last: Key) -> Watermark:
    """The position behind a part of a run: partitions before the last item's are done, those behind it are not."""
    partition, offset, _ = last
    done = [pair for pair in applied.positions if pair[0] < partition]
    return after.joined(Watermark((*done, (partition, offset))))


def _changes(catalogue: Catalogue, part: Sequence[Key], end: _End) -> ItemChanges:
    """Items of a part as they are now: they may have changed once more since the run began."""
    states = catalogue.states([item_id for _, _, item_id in part])
    return ItemChanges(
        upserted=tuple(state for state in states if state.status is ItemStatus.PRESENT),
        deleted_item_ids=tuple(state.item_id for state in states if state.status is not ItemStatus.PRESENT),
        watermark=str(end.watermark),
        caught_up=end.caught_up,
    )


def _check(after: Watermark, head: Watermark | None) -> None:
    if head is not None and not head.covers(after):
        raise _invalid(after)


def _invalid(after: Watermark) -> ServiceError:
    return ServiceError(
        ErrorReason.WATERMARK_INVALID,
        f"the log never was at {after}: watch again without a position",
        metadata={"watermark": str(after)},
    )
