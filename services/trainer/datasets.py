"""What a model learns from: who did what with which item and when, in dense rows, beside what is known of both.

A `Dataset` never changes. Cleaning, filtering and splitting make a new one, or row indexes into this one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.domain.items import Item, User
from shared.domain.vocabulary import Vocabulary
from shared.model.content_tuned import TunedLayers


class DatasetError(ValueError):
    """The data as a whole cannot be used: a missing file, a missing column, nothing left in it."""


@dataclass(frozen=True, slots=True)
class UserSequences:
    """Every user's events in time order, as one flat array with borders (CSR).

    Attributes:
        order: (E,) int64, event indexes grouped by user, in time order inside a user.
        offsets: (U + 1,) int64; the events of user u are `order[offsets[u]:offsets[u + 1]]`.
    """

    order: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(U,) events of each user."""
        return np.diff(self.offsets)

    def events_of(self, user_row: int) -> npt.NDArray[np.int64]:
        """Event indexes of one user, oldest first."""
        return self.order[self.offsets[user_row] : self.offsets[user_row + 1]]


@dataclass(frozen=True, slots=True)
class Interactions:
    """E events, sorted stably by (time, file row): among equal times the earlier row is the earlier event.

    Attributes:
        user_rows: (E,) int32, rows of `Dataset.users`.
        item_rows: (E,) int32, rows of `Dataset.items`.
        event_types: (E,) int8, codes of `EventType`.
        values: (E,) float32, NaN = none.
        times_s: (E,) float64, Unix seconds, never falling.
        users_count: U, length of the vocabulary that `user_rows` points into.
    """

    user_rows: npt.NDArray[np.int32]
    item_rows: npt.NDArray[np.int32]
    event_types: npt.NDArray[np.int8]
    values: npt.NDArray[np.float32]
    times_s: npt.NDArray[np.float64]
    users_count: int

    def __post_init__(self) -> None:
        columns = (self.user_rows, self.item_rows, self.event_types, self.values, self.times_s)
        lengths = {len(column) for column in columns}
        if len(lengths) != 1:
            raise ValueError(f"the columns of interactions differ in length: {[len(column) for column in columns]}")
        if np.any(np.diff(self.times_s) < 0):
            raise ValueError("interactions are not in time order; sort them stably by (time, file row) first")

    def __len__(self) -> int:
        return len(self.user_rows)

    def by_user(self) -> UserSequences:
        """Group the events by user without changing their order in time."""
        counts = np.bincount(self.user_rows, minlength=self.users_count)
        offsets = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        return UserSequences(order=np.argsort(self.user_rows, kind="stable"), offsets=offsets)

    def take(self, events: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Interactions:
        """The events at these ascending indexes (or under this mask), with the rows that they have here."""
        return Interactions(
            user_rows=self.user_rows[events],
            item_rows=self.item_rows[events],
            event_types=self.event_types[events],
            values=self.values[events],
            times_s=self.times_s[events],
            users_count=self.users_count,
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """Interactions with the vocabularies that their rows point into and the details of every item and user.

    Attributes:
        users: every user of the interactions and of the users' file.
        items: every item of the interactions (by first appearance), then of the items' file.
        interactions: the events.
        item_details: row-aligned with `items`; a bare `Item(item_id)` where no file tells more.
        user_details: row-aligned with `users`; a bare `User(user_id)` where no file tells more.
        name: for tables and file names.
        tuned_text: layers of the text encoder that made the items' text vectors; None: it was as it came.
    """

    users: Vocabulary
    items: Vocabulary
    interactions: Interactions
    item_details: tuple[Item, ...]
    user_details: tuple[User, ...]
    name: str
    tuned_text: TunedLayers | None = None

    def __post_init__(self) -> None:
        if len(self.item_details) != len(self.items):
            raise ValueError(f"{len(self.items)} items but {len(self.item_details)} item details in {self.name}")
        if len(self.user_details) != len(self.users):
            raise ValueError(f"{len(self.users)} users but {len(self.user_details)} user details in {self.name}")
