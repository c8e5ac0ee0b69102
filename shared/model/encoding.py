"""Histories as arrays: item rows, event codes and time gaps, many users packed one behind the other, no padding.

B users, T events of all of them together, N items of the bundle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.vocabulary import Vocabulary
from shared.model.bundle import Bundle, write_arrays
from shared.model.user_features import Profiles

SCALE_FILE = "values.safetensors"
TYPES = 16
"""Event types with an embedding of their own; codes of a later release count as UNSPECIFIED."""
VALUE_BINS = 8
EVENT_CODES = TYPES * (VALUE_BINS + 1)
"""One code for what happened and with which value: type · 9 + bin, bin 0 = no value."""
GAP_BINS = 32
"""Gap to the event before: floor(log2(seconds + 1)), 31 = 68 years."""

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ValueScale:
    """How the values of each event type are cut into bins: at the quantiles of the training data.

    Attributes:
        edges: (TYPES, VALUE_BINS - 1) float32, ascending, +inf where a type has fewer bins.
    """

    edges: Floats

    @classmethod
    def fit(cls, event_types: npt.NDArray[np.integer], values: Floats) -> ValueScale:
        """Find the quantiles of each type; NaN and infinite values are passed over."""
        edges = np.full((TYPES, VALUE_BINS - 1), np.inf, np.float32)
        for kind in range(TYPES):
            known = values[(event_types == kind) & np.isfinite(values)]
            if len(known):
                cuts = np.unique(np.quantile(known, np.linspace(0, 1, VALUE_BINS + 1)[1:-1]).astype(np.float32))
                edges[kind, : len(cuts)] = cuts
        return cls(edges)

    def codes(self, event_types: npt.NDArray[np.integer], values: Floats) -> Rows:
        """(T,) event codes below `EVENT_CODES`."""
        kinds = np.where((event_types >= 0) & (event_types < TYPES), event_types, EventType.UNSPECIFIED)
        bins = 1 + (values[:, None] >= self.edges[kinds]).sum(axis=1)
        return (kinds * (VALUE_BINS + 1) + np.where(np.isfinite(values), bins, 0)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class PackedHistories:
    """The histories of B users, one behind the other, oldest event first.

    Attributes:
        offsets: (B + 1,) int64.
        item_rows: (T,) int64, -1 = not in the bundle.
        event_codes: (T,) int64.
        gap_bins: (T,) int64.
        profiles: of the B users; None: nothing is known of anybody.
    """

    offsets: Rows
    item_rows: Rows
    event_codes: Rows
    gap_bins: Rows
    profiles: Profiles | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Rows:
        """(B,) events of each user."""
        return np.diff(self.offsets)

    def take(self, users: Rows) -> PackedHistories:
        """Some of the histories, in the given order."""
        offsets, places = self.places_of(users)
        columns = (self.item_rows[places], self.event_codes[places], self.gap_bins[places])
        return PackedHistories(offsets, *columns, self.profiles and self.profiles.take(users))

    def interests_of(self, user: int) -> Rows:
        """Features of items that one user's interests name."""
        if self.profiles is None:
            return np.empty(0, np.int64)
        bags = self.profiles.interests
        return bags.ids[bags.offsets[user] : bags.offsets[user + 1]]

    def places_of(self, users: Rows) -> tuple[Rows, Rows]:
        """The offsets of some of the histories, one behind the other, and the places of their events here."""
        lengths = self.lengths[users]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        return offsets, np.arange(offsets[-1]) + np.repeat(self.offsets[users] - offsets[:-1], lengths)


def gap_bins(times_ms: npt.NDArray[np.int64], offsets: Rows) -> Rows:
    """(T,) binned time since the event before; 0 for the first of each history."""
    if not len(times_ms):
        return np.empty(0, np.int64)
    gaps = np.diff(times_ms, prepend=times_ms[:1])
    gaps[offsets[:-1][offsets[:-1] < len(gaps)]] = 0
    seconds = np.maximum(gaps, 0) / 1000
    return np.minimum(np.log2(seconds + 1), GAP_BINS - 1).astype(np.int64)


def pack_histories(
    histories: Sequence[History], vocabulary: Vocabulary, scale: ValueScale, limit: int
) -> PackedHistories:
    """Encode the last `limit` events of each history."""
    recent = [history.latest(limit) for history in histories]
    offsets = np.concatenate(([0], np.cumsum([len(history) for history in recent]))).astype(np.int64)
    if not recent:
        nothing = np.empty(0, np.int64)
        return PackedHistories(offsets, nothing, nothing, nothing)
    rows = [vocabulary.rows(history.item_ids) for history in recent]
    kinds = np.concatenate([history.event_types for history in recent])
    values = np.concatenate([history.values for history in recent])
    times = np.concatenate([history.times_ms for history in recent])
    return PackedHistories(offsets, np.concatenate(rows), scale.codes(kinds, values), gap_bins(times, offsets))


def save_scale(scale: ValueScale, folder: Path) -> None:
    """Write the scale of event values into a bundle's folder."""
    write_arrays(folder / SCALE_FILE, {"edges": scale.edges})


def load_scale(bundle: Bundle) -> ValueScale:
    """Read what `save_scale` wrote."""
    return ValueScale(bundle.arrays(SCALE_FILE)["edges"])
