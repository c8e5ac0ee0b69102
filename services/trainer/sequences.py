"""A data set as the networks read it: every user's events behind one another, cut into windows.

U users, E events, W windows, T events of the windows of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Interactions
from shared.domain.events import CONSUMING, EventType
from shared.model.encoding import PackedHistories, ValueScale, gap_bins
from shared.model.user_features import Profiles

Rows = npt.NDArray[np.int64]

_EVENTS_TOGETHER = 1 << 19

TARGETS = np.array(sorted(CONSUMING - {EventType.DISLIKE}), np.int64)
"""What the models learn to foretell: being shown, hidden or disliked is history, not a wish."""


@dataclass(frozen=True, slots=True)
class TrainingSequences:
    """Events grouped by user, oldest first inside a user.

    Attributes:
        offsets: (U + 1,) int64.
        events: (E,) index of each in the interactions.
        item_rows: (E,) int32.
        event_codes, gap_bins: (E,) int16, see `encoding`; narrow, for there are as many as events.
        is_target: (E,) whether the models learn to foretell it.
        profiles: of the U users as they are now; None: nothing is known of anybody.
    """

    offsets: Rows
    events: Rows
    item_rows: npt.NDArray[np.int32]
    event_codes: npt.NDArray[np.int16]
    gap_bins: npt.NDArray[np.int16]
    is_target: npt.NDArray[np.bool_]
    profiles: Profiles | None = None

    @classmethod
    def of(cls, interactions: Interactions, scale: ValueScale, profiles: Profiles | None = None) -> TrainingSequences:
        """Group and encode all events; `profiles` of the users of the interactions' vocabulary."""
        users = interactions.by_user()
        codes, gaps = np.empty(len(interactions), np.int16), np.empty(len(interactions), np.int16)
        for first, last in _users_together(users.offsets):
            offsets = users.offsets[first : last + 1]
            events = users.order[offsets[0] : offsets[-1]]
            part = slice(offsets[0], offsets[-1])
            types = interactions.event_types[events].astype(np.int64)
            codes[part] = scale.codes(types, interactions.values[events])
            times_ms = np.round(interactions.times_s[events] * 1000).astype(np.int64)
            gaps[part] = gap_bins(times_ms, offsets - offsets[0])
        return cls(
            offsets=users.offsets,
            events=users.order,
            item_rows=interactions.item_rows[users.order],
            event_codes=codes,
            gap_bins=gaps,
            is_target=np.isin(interactions.event_types, TARGETS)[users.order],
            profiles=profiles,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def asking_only(self, wanted: npt.NDArray[np.bool_]) -> TrainingSequences:
        """The same events, of which only these are to be foretold; (E,) in the order of the interactions."""
        return replace(self, is_target=self.is_target & wanted[self.events])

    def packed(self, starts: Rows, stops: Rows) -> PackedHistories:
        """The events `starts[i]:stops[i]` as histories, one behind the other."""
        lengths = stops - starts
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        users = np.searchsorted(self.offsets, starts, side="right") - 1
        rows, codes, gaps = (
            column[places].astype(np.int64) for column in (self.item_rows, self.event_codes, self.gap_bins)
        )
        return PackedHistories(offsets, rows, codes, gaps, self.profiles and self.profiles.take(users))


def _users_together(offsets: Rows) -> Iterator[tuple[int, int]]:
    """Users `first:last`, as many at a time as have some events: encoding all at once takes ten times their memory."""
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + _EVENTS_TOGETHER, side="right")) - 1
        last = min(max(first + 1, last), len(offsets) - 1)
        yield first, last
        first = last


@dataclass(frozen=True, slots=True)
class Windows:
    """Stretches of users' sequences: window i holds events `starts[i]:stops[i]` of the sequences.

    Attributes:
        starts, stops: (W,) int64.
        begins: (W,) whether the window begins where its user begins.
    """

    starts: Rows
    stops: Rows
    begins: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, chosen: Rows) -> Windows:
        """Some of them."""
        return Windows(self.starts[chosen], self.stops[chosen], self.begins[chosen])


def cut_windows(offsets: Rows, limit: int, rng: np.random.Generator) -> Windows:
    """Cut every user's events into windows of at most `limit`; long users are cut elsewhere each time.

    Every event is in exactly one window. Users without events have none.
    """
    lengths = np.diff(offsets)
    # A long user's first cut is at random, the rest follow at full length: all cuts are equally likely over epochs.
    heads = np.where(lengths <= limit, lengths, rng.integers(1, limit + 1, len(lengths)))
    counts = np.where(lengths > 0, 1 + -(-(lengths - heads) // limit), 0)
    users = np.repeat(np.arange(len(lengths)), counts)
    number = np.arange(len(users)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = offsets[users] + np.where(number == 0, 0, heads[users] + (number - 1) * limit)
    stops = np.minimum(offsets[users] + heads[users] + number * limit, offsets[users + 1])
    return Windows(starts, stops, number == 0)


def batches_by_length(lengths: Rows, tokens: int, rng: np.random.Generator) -> list[Rows]:
    """Indexes in batches of similar lengths, at most `tokens` tokens each, in random order.

    Lengths are shuffled a little before they are sorted, so that neighbours change from epoch to epoch.
    """
    order = np.argsort(lengths * (1 + 0.1 * rng.random(len(lengths))), kind="stable")
    ends = np.cumsum(lengths[order])
    batches, start = [], 0
    while start < len(order):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + tokens, side="right")))
        batches.append(order[start:stop])
        start = stop
    return [batches[place] for place in rng.permutation(len(batches))]
