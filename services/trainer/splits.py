"""Who is asked, what they had done until then, and what they did next: leave-one-out and the global time split.

Both are defined by the order of events (time, then file row) and by nothing else. A request carries the time of the
last event of its history: a model that reads the target's time knows the future.
S scored users, I items, E events of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Dataset, DatasetError, Interactions
from services.trainer.datasets_ragged import Ragged

MIN_EVENTS = 3
"""Leave-one-out scores users with at least one event for each of train, validation and test."""

TIME_CUT = 0.9
"""Share of the events before the cut of a time split."""

NEW_CUTS: dict[str, tuple[float, float]] = {"validation": (0.8, 0.9), "test": (0.9, 1.0)}
"""Which shares of the new events an increment is validated and tested on; those before are learned from."""

MIN_NEW = 10
"""New events from which on each of the three parts has one."""

Stage = Literal["test", "validation"]


@dataclass(frozen=True, slots=True)
class Split:
    """One division of a data set.

    Attributes:
        name: for tables, e.g. `leave-one-out test`.
        interactions: all events of the data set; event indexes point into them.
        train_events: (T,) ascending indexes of the events that may set parameters.
        train: those events.
        user_rows: (S,) int32, the scored users, ascending.
        histories: per scored user the indexes of the events before the request, oldest first; at least one.
        target_events: (S,) indexes of the events to be foretold.
        catalogue: (I,) the items that may be listed: those of any event.
        cut_s: no request is made before it: in a time split the end of the train part, at which all requests are made.
    """

    name: str
    interactions: Interactions
    train_events: npt.NDArray[np.int64]
    train: Interactions
    user_rows: npt.NDArray[np.int32]
    histories: Ragged
    target_events: npt.NDArray[np.int64]
    catalogue: npt.NDArray[np.bool_]
    cut_s: float = -np.inf

    def __len__(self) -> int:
        return len(self.user_rows)

    @property
    def target_items(self) -> npt.NDArray[np.int32]:
        """(S,) the item rows to be foretold."""
        return self.interactions.item_rows[self.target_events]

    @property
    def seen_items(self) -> Ragged:
        """Per scored user the item rows of the history, repeats included, which may not be listed."""
        return Ragged(self.interactions.item_rows[self.histories.flat], self.histories.offsets)

    @property
    def request_times_s(self) -> npt.NDArray[np.float64]:
        """(S,) when each request is made: at the last history event, in a time split at the cut.

        That is the latest time that a server knows which has the train part and the history; no target is read.
        """
        return np.maximum(self.history_ends_s, self.cut_s)

    @property
    def history_ends_s(self) -> npt.NDArray[np.float64]:
        """(S,) the time of each last history event."""
        last_events: npt.NDArray[np.int64] = self.histories.flat[self.histories.offsets[1:] - 1]
        return self.interactions.times_s[last_events]

    def sampled(self, users: int, rng: np.random.Generator) -> Split:
        """The same split with at most so many of its scored users, drawn at random."""
        if users >= len(self):
            return self
        kept = np.sort(rng.choice(len(self), users, replace=False))
        return replace(
            self,
            user_rows=self.user_rows[kept],
            histories=Ragged.from_slices(
                self.histories.flat, self.histories.offsets[kept], self.histories.lengths[kept]
            ),
            target_events=self.target_events[kept],
        )


def leave_one_out(dataset: Dataset, stage: Stage = "test") -> Split:
    """Each user's last event is the test target, the one before it the validation target, the rest is train.

    Users with fewer than `MIN_EVENTS` events are not scored; their events are train. The test history holds the
    validation event, `train` does not.

    Raises:
        DatasetError: nobody has enough events.
    """
    events = dataset.interactions
    sequences = events.by_user()
    scored = np.flatnonzero(sequences.lengths >= MIN_EVENTS)
    if not len(scored):
        raise DatasetError(f"no user of {dataset.name} has {MIN_EVENTS} events or more; leave-one-out needs some")
    ends = sequences.offsets[scored + 1]
    targets = sequences.order[ends - (1 if stage == "test" else 2)]
    in_train = np.ones(len(events), dtype=np.bool_)
    in_train[sequences.order[ends - 1]] = in_train[sequences.order[ends - 2]] = False
    lengths = sequences.lengths[scored] - (1 if stage == "test" else 2)
    histories = Ragged.from_slices(sequences.order, sequences.offsets[scored], lengths)
    return Split(
        name=f"leave-one-out {stage}",
        interactions=events,
        train_events=np.flatnonzero(in_train),
        train=events.take(in_train),
        user_rows=scored.astype(np.int32),
        histories=histories,
        target_events=targets,
        catalogue=_catalogue(dataset),
    )


def time_split(dataset: Dataset, cut: float = TIME_CUT, stage: Stage = "test") -> Split:
    """The first `cut` share of all events is train; who has events on both sides is scored on the first new item.

    For `validation` the same is done within the train part of the test split: nothing after the test's cut is used.

    Raises:
        DatasetError: nobody has events on both sides.
    """
    events = dataset.interactions
    end = len(events) if stage == "test" else int(len(events) * cut)
    border = int(end * cut)
    targets = _first_new_items(events, border, end, len(dataset.items))
    if not len(targets):
        raise DatasetError(
            f"no user of {dataset.name} has an event before and a new item after {cut:.0%} of the events"
        )
    return _cut(dataset, border, targets, f"time {stage}")


def newest_split(dataset: Dataset, new: npt.NDArray[np.bool_], stage: Stage = "test") -> Split:
    """A time split of the new events alone: asked is who was there before, for the first new item behind the cut.

    Args:
        dataset: old and new events.
        new: (E,) which events are new.
        stage: which part of them is foretold.

    Raises:
        DatasetError: there are too few new events, or nobody to ask.
    """
    events, places = dataset.interactions, np.flatnonzero(new)
    if len(places) < MIN_NEW:
        raise DatasetError(f"{dataset.name} has {len(places)} new events; {MIN_NEW} are needed to learn and to measure")
    first, last = (int(len(places) * share) for share in NEW_CUTS[stage])
    border, end = int(places[first]), int(places[last]) if last < len(places) else len(events)
    targets = _first_new_items(events, border, end, len(dataset.items), new)
    if not len(targets):
        raise DatasetError(
            f"no user of {dataset.name} who was there before has a new item among the {stage} part of the "
            f"{len(places)} new events; wait for more of them, or train without --since"
        )
    return _cut(dataset, border, targets, f"newest {stage}")


def everything(split: Split) -> Split:
    """The same data set with nothing held out: who is asked and what for has been learned, too."""
    events = split.interactions
    cut_s = float(events.times_s[-1]) if np.isfinite(split.cut_s) else split.cut_s
    return replace(split, name="everything", train_events=np.arange(len(events)), train=events, cut_s=cut_s)


def _cut(dataset: Dataset, border: int, targets: npt.NDArray[np.int64], name: str) -> Split:
    """Everything before the border is train; all requests are made there."""
    events = dataset.interactions
    scored = events.user_rows[targets].astype(np.int64)
    sequences = events.by_user()
    before = np.bincount(events.user_rows[:border], minlength=events.users_count)
    return Split(
        name=name,
        interactions=events,
        train_events=np.arange(border),
        train=events.take(np.arange(border)),
        user_rows=scored.astype(np.int32),
        histories=Ragged.from_slices(sequences.order, sequences.offsets[scored], before[scored]),
        target_events=targets,
        catalogue=_catalogue(dataset),
        cut_s=float(events.times_s[border - 1]),
    )


def _first_new_items(
    events: Interactions, border: int, end: int, items: int, allowed: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.int64]:
    """Per user, ascending: the first event in [border, end) whose item the user did not have before the border."""
    pairs = events.user_rows.astype(np.int64) * items + events.item_rows
    known_users = np.isin(events.user_rows[border:end], events.user_rows[:border])
    new = known_users & ~np.isin(pairs[border:end], pairs[:border])
    if allowed is not None:
        new &= allowed[border:end]
    candidates = border + np.flatnonzero(new)
    _, first = np.unique(events.user_rows[candidates], return_index=True)
    return candidates[first]


def _catalogue(dataset: Dataset) -> npt.NDArray[np.bool_]:
    catalogue = np.zeros(len(dataset.items), dtype=np.bool_)
    catalogue[dataset.interactions.item_rows] = True
    return catalogue
