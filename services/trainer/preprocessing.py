"""Clean, deduplicate and normalise a data set, and say what was changed.

Ids are never altered. Evaluation scores the data as they are; cleaning is for what a model is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Dataset, DatasetError, Interactions
from services.trainer.datasets_assembly import assemble, raw_events_of
from shared.model.text_form import normalised_item, normalised_user

EXAMPLES_KEPT = 5


@dataclass(frozen=True, slots=True)
class CleaningOptions:
    """What to do; every step is in the report.

    Attributes:
        drop_duplicates: of events equal in user, item, type, value and time keep the first.
        normalise_text: titles, descriptions, categories, tags and text attributes (see `shared.model.text_form`).
        min_user_events, min_item_events: the k-core: drop users and items with fewer events, again and again until
            all that are left have enough; 0 or 1 drops nobody.
    """

    drop_duplicates: bool = True
    normalise_text: bool = True
    min_user_events: int = 0
    min_item_events: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """One step and what it changed.

    Attributes:
        step: what was done, in the words of a report.
        count: how many events, items or users it touched.
        examples: the first few of them.
    """

    step: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CleaningReport:
    """Every step that changed something, in the order of execution.

    Attributes:
        changes: the steps.
        kept: (E,) which events of the data set are left, in their order; None: all.
    """

    changes: tuple[Change, ...] = field(default=())
    kept: npt.NDArray[np.bool_] | None = field(default=None, compare=False, repr=False)


def clean(dataset: Dataset, options: CleaningOptions) -> tuple[Dataset, CleaningReport]:
    """Apply the options.

    Raises:
        DatasetError: the k-core is empty.
    """
    kept, changes = _events_to_keep(dataset, options)
    items, users = dataset.item_details, dataset.user_details
    if options.normalise_text:
        items = tuple(normalised_item(item) for item in items)
        users = tuple(normalised_user(user) for user in users)
        changes.append(_text_change("normalised the text of items", dataset.items.ids, dataset.item_details, items))
        changes.append(_text_change("normalised the text of users", dataset.users.ids, dataset.user_details, users))
    if _core_asked(options):
        events = dataset.interactions.take(kept)
        items = tuple(items[row] for row in np.unique(events.item_rows))
        users = tuple(users[row] for row in np.unique(events.user_rows))
    changed = tuple(change for change in changes if change.count)
    if not changed:
        return dataset, CleaningReport()
    cleaned = assemble(raw_events_of(dataset, kept), items, users, dataset.name)
    return cleaned, CleaningReport(changed, kept)


def occurrences(events: Interactions) -> npt.NDArray[np.int64]:
    """(E,) how many earlier events are equal to each in user, item, type, value and time; 0 for the first."""
    bits = events.values.view(np.int32)  # so that no value equals no value
    keys = (bits, events.event_types, events.item_rows, events.user_rows, events.times_s)
    order = np.lexsort(keys)
    fresh = np.ones(len(events), dtype=np.bool_)
    fresh[1:] = np.logical_or.reduce([key[order[1:]] != key[order[:-1]] for key in keys])
    starts = np.maximum.accumulate(np.where(fresh, np.arange(len(events)), 0))
    result = np.empty(len(events), dtype=np.int64)
    result[order] = np.arange(len(events)) - starts
    return result


def core_mask(events: Interactions, min_user_events: int, min_item_events: int) -> npt.NDArray[np.bool_]:
    """(E,) the events of the largest part in which every user and every item has at least so many events."""
    kept = np.ones(len(events), dtype=np.bool_)
    while True:
        users = np.bincount(events.user_rows[kept], minlength=events.users_count)
        items = np.bincount(events.item_rows[kept], minlength=int(events.item_rows.max(initial=0)) + 1)
        enough = (users >= min_user_events)[events.user_rows] & (items >= min_item_events)[events.item_rows]
        if np.array_equal(kept, kept & enough):
            return kept
        kept &= enough


def _core_asked(options: CleaningOptions) -> bool:
    return max(options.min_user_events, options.min_item_events) > 1


def _events_to_keep(dataset: Dataset, options: CleaningOptions) -> tuple[npt.NDArray[np.bool_], list[Change]]:
    events = dataset.interactions
    kept = np.ones(len(events), dtype=np.bool_)
    changes = []
    if options.drop_duplicates:
        kept = occurrences(events) == 0
        changes.append(_event_change("dropped repeated events", dataset, np.flatnonzero(~kept)))
    if _core_asked(options):
        left = np.flatnonzero(kept)
        core = core_mask(events.take(left), options.min_user_events, options.min_item_events)
        if not core.any():
            raise DatasetError(
                f"no event of {dataset.name} is left when users need {options.min_user_events} events and items "
                f"{options.min_item_events}; ask for less"
            )
        changes.append(_event_change("dropped events outside the k-core", dataset, left[~core]))
        kept[left[~core]] = False
    return kept, changes


def _event_change(step: str, dataset: Dataset, dropped: npt.NDArray[np.int64]) -> Change:
    events = dataset.interactions
    examples = (
        f"user {dataset.users.ids[events.user_rows[event]]}, item {dataset.items.ids[events.item_rows[event]]}, "
        f"time {events.times_s[event]:.0f}"
        for event in dropped[:EXAMPLES_KEPT]
    )
    return Change(step, len(dropped), tuple(examples))


def _text_change(step: str, ids: Sequence[str], before: Sequence[object], after: Sequence[object]) -> Change:
    # A detail that needs no change comes back as the same object, so identity tells.
    changed = [name for name, old, new in zip(ids, before, after, strict=True) if old is not new]
    return Change(step, len(changed), tuple(changed[:EXAMPLES_KEPT]))
