"""The time slice: what teaches the ranker was never seen by the retriever whose candidates it learns on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.sequences import TrainingSequences
from services.trainer.slices import SliceSettings, cut_slice, cut_time_slice, requests_at
from services.trainer.splits import leave_one_out
from shared.model.encoding import ValueScale
from tests.unit.trainer.data_worlds import random_dataset, walks

SCALE = ValueScale(np.full((16, 7), np.inf, np.float32))


def sequences_of(seed: int, events: int = 300) -> TrainingSequences:
    data = random_dataset(np.random.default_rng(seed), users=20, items=15, events=events)
    return TrainingSequences.of(data.interactions, SCALE)


@given(seed=st.integers(0, 100), share=st.floats(0, 1), most=st.integers(0, 20), least=st.integers(0, 5))
def test_every_asked_event_lies_behind_all_that_the_retriever_saw_of_its_user(
    seed: int, share: float, most: int, least: int
) -> None:
    sequences = sequences_of(seed)

    cut = cut_slice(sequences, SliceSettings(share, most, least))

    seen = np.flatnonzero(cut.for_retriever(sequences))
    owners = np.repeat(np.arange(len(sequences)), np.diff(sequences.offsets))
    last_seen = np.full(len(sequences), -1)
    np.maximum.at(last_seen, owners[seen], seen)
    assert np.all(cut.asked > last_seen[owners[cut.asked]])


def test_short_users_keep_their_history_for_the_retriever() -> None:
    data = walks(users=5, length=3)
    sequences = TrainingSequences.of(data.interactions, SCALE)

    cut = cut_slice(sequences, SliceSettings(share=1.0, most=10, least_history=2))

    assert len(cut.asked) == 5
    assert cut.for_retriever(sequences).sum() == 10


@pytest.mark.parametrize("limit", [8, 50])
def test_a_request_reads_the_events_before_it_and_no_other(limit: int) -> None:
    sequences = TrainingSequences.of(leave_one_out(walks(users=10)).train, SCALE)
    cut = cut_slice(sequences, SliceSettings(share=0.4, most=4, least_history=1))

    starts, stops, window, places = requests_at(sequences, cut.asked, limit)

    ends = starts[window] + places
    assert np.array_equal(ends, cut.asked)
    assert np.all(stops[window] >= ends)
    assert np.all(places >= 1)
    assert len(starts) == 10


@given(seed=st.integers(0, 100), share=st.floats(0.05, 0.9), most=st.integers(1, 20))
def test_a_slice_of_time_asks_for_nothing_that_its_retriever_or_its_cut_knows(
    seed: int, share: float, most: int
) -> None:
    sequences = sequences_of(seed)
    times_s = random_dataset(np.random.default_rng(seed), users=20, items=15, events=300).interactions.times_s

    cut = cut_time_slice(sequences, times_s, share, most)

    seen, asked = sequences.events[cut.for_retriever(sequences)], sequences.events[cut.asked]
    assert len(seen) == int(300 * (1 - share))
    assert seen.max(initial=-1) < asked.min(initial=300)
    assert np.all(times_s[seen] <= cut.from_s)
    owners = np.searchsorted(sequences.offsets, cut.asked, side="right") - 1
    assert np.bincount(owners, minlength=20).max() <= most
    assert np.all(cut.ends[owners] > sequences.offsets[owners])
