"""The slice: the latest events teach the ranker, everything before them the retriever it learns on.

They are the latest of each user, or in a time split the latest of all, as the measurement asks.

A retriever scores what it was fitted on far too well. A ranker that learns from such candidates trusts the retrieval
score blindly and is worse than no ranker; so no event may serve both, and each request lies behind all that the slice's
retriever saw of its user.
U users, E events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from services.trainer.sequences import TrainingSequences

Rows = npt.NDArray[np.int64]
Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SliceSettings:
    """How many of a user's latest events are kept for the ranker.

    Attributes:
        share: of the user's events.
        most: of any user.
        least_history: events that must remain before the first of them.
        total: events of all users together that the ranker is asked for, drawn at random where there are more: their
            candidates and features are what memory goes to.
    """

    share: float = 0.2
    most: int = 10
    least_history: int = 2
    total: int = 100_000


@dataclass(frozen=True, slots=True)
class Slice:
    """Which events of the sequences are for whom.

    Attributes:
        ends: (U,) place in the sequences of the first event that the slice's retriever may not see.
        asked: places in the sequences of the events that the ranker learns from, ascending.
        from_s: no request is made before it.
    """

    ends: Rows
    asked: Rows
    from_s: float = -np.inf

    def sampled(self, total: int, rng: np.random.Generator) -> Slice:
        """The same slice, of which at most so many events are asked for."""
        if len(self.asked) <= total:
            return self
        return replace(self, asked=np.sort(rng.choice(self.asked, total, replace=False)))

    def for_retriever(self, sequences: TrainingSequences) -> npt.NDArray[np.bool_]:
        """(E,) mask over the sequences: what the slice's retriever may be fitted on."""
        users = np.repeat(np.arange(len(sequences)), np.diff(sequences.offsets))
        return np.arange(len(users)) < self.ends[users]


def cut_time_slice(sequences: TrainingSequences, times_s: Times, share: float, most: int) -> Slice:
    """Keep the last `share` of all events for the ranker: it learns what it is asked in a global time split.

    Of each user who was there before, the first `most` wished events of the slice are asked for, the first of them at
    the cut, as in the measurement; a later one at the event before it.

    Args:
        sequences: all events that may be learned from.
        times_s: (E,) of the interactions that the sequences are made of, never falling.
        share: of the events.
        most: of any user.
    """
    return slice_behind(sequences, times_s, int(len(times_s) * (1 - share)), most)


def slice_behind(sequences: TrainingSequences, times_s: Times, border: int, most: int) -> Slice:
    """The same with the first `border` events for the retriever."""
    users = np.repeat(np.arange(len(sequences)), np.diff(sequences.offsets))
    late = sequences.events >= border
    ends = sequences.offsets[1:] - np.bincount(users[late], minlength=len(sequences))
    place = np.arange(len(users)) - ends[users]  # in the user's part of the slice
    asked = late & (place < most) & (ends > sequences.offsets[:-1])[users] & sequences.is_target
    return Slice(ends, np.flatnonzero(asked), float(times_s[max(0, border - 1)]))


def cut_slice(sequences: TrainingSequences, settings: SliceSettings) -> Slice:
    """Keep the latest events of each user for the ranker."""
    lengths = np.diff(sequences.offsets)
    kept = np.clip(np.maximum((lengths * settings.share).astype(np.int64), 1), 0, settings.most)
    kept = np.minimum(kept, np.maximum(lengths - settings.least_history, 0))
    ends = sequences.offsets[1:] - kept
    users = np.repeat(np.arange(len(sequences)), lengths)
    behind = np.arange(len(users)) >= ends[users]
    return Slice(ends, np.flatnonzero(behind & sequences.is_target))


def new_slice(sequences: TrainingSequences, times_s: Times, new: npt.NDArray[np.bool_], most: int) -> Slice:
    """Keep the new events for the ranker: a bundle that has not seen them is the retriever it learns on.

    Args:
        sequences: old and new events.
        times_s: (E,) of the interactions that the sequences are made of, never falling.
        new: (E,) of the interactions, at least one.
        most: of any user, the latest ones.
    """
    users = np.repeat(np.arange(len(sequences)), np.diff(sequences.offsets))
    places = np.flatnonzero(new[sequences.events])
    ends = sequences.offsets[1:].copy()
    np.minimum.at(ends, users[places], places)
    asked = places[sequences.is_target[places] & (places > sequences.offsets[users[places]])]
    later = np.cumsum(np.bincount(users[asked], minlength=len(sequences)))[users[asked]] - 1 - np.arange(len(asked))
    return Slice(ends, asked[later < most], float(times_s[max(0, int(np.argmax(new)) - 1)]))


def requests_at(sequences: TrainingSequences, asked: Rows, limit: int) -> tuple[Rows, Rows, Rows, Rows]:
    """Histories and requests for events to be foretold.

    Args:
        sequences: all events that may be read.
        asked: (Q,) places of the events to be foretold, ascending.
        limit: longest history.

    Returns:
        starts, stops of a history per user with requests, (W,); and (Q,) its number and the events before the request.
    """
    users = np.searchsorted(sequences.offsets, asked, side="right") - 1
    who, first, window = np.unique(users, return_index=True, return_inverse=True)
    last = np.append(first[1:], len(asked)) - 1
    stops = asked[last]
    starts = np.maximum(sequences.offsets[who], stops - limit)
    starts = np.minimum(starts, asked[first])  # a request far back sees what there is
    return starts, stops, window.astype(np.int64), asked - starts[window]
