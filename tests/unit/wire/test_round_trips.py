"""Whatever the domain can say survives the wire unchanged: codecs are their own inverses."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from winnow.v1 import candidate_pb2

from shared.domain.bundles import TrainedBundle
from shared.domain.event_log import Erasure, Fact, ItemDeletion, LogRecord
from shared.domain.expiry import Expiry
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.ranking import Candidates, RankingRequest, RankingResult, ScoreParts
from shared.domain.retrieval import RetrievalRequest
from shared.domain.slates import ServedSlate
from shared.domain.user_state import UserState
from shared.domain.watermark import Watermark
from shared.wire.candidates import candidates_from_proto, candidates_to_proto
from shared.wire.events import history_events_to_proto, history_from_event_protos
from shared.wire.items import item_from_proto, item_to_proto
from shared.wire.log import fact_from_bytes, fact_to_bytes, record_from_proto, record_to_proto
from shared.wire.ranking import (
    ranking_request_from_proto,
    ranking_request_to_proto,
    ranking_result_from_proto,
    ranking_result_to_proto,
)
from shared.wire.retrieval import retrieval_request_from_proto, retrieval_request_to_proto
from shared.wire.slates import slate_from_proto, slate_to_proto, unread_slate
from shared.wire.times import time_from_proto
from shared.wire.user_state import user_state_from_proto, user_state_to_proto
from tests import domain_strategies as some
from tests.unit.feature.world import slate as slate_of


def same(left: Any, right: Any) -> bool:
    """Equality that looks into arrays (NaN equals NaN) and nested dataclasses."""
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right, equal_nan=True)
    if hasattr(left, "__dataclass_fields__"):
        names = left.__dataclass_fields__
        return isinstance(left, type(right)) and all(same(getattr(left, name), getattr(right, name)) for name in names)
    if isinstance(left, tuple) and len(left) == len(right):
        return all(same(one, other) for one, other in zip(left, right, strict=True))
    if isinstance(left, dict) and left.keys() == right.keys():
        return all(same(left[key], right[key]) for key in left)
    return bool(left == right)


@given(some.items())
def test_an_item_survives_the_wire(item: Item) -> None:
    assert same(item_from_proto(item_to_proto(item)), item)


@given(some.histories())
def test_a_history_of_messages_equals_the_history_of_columns(history: History) -> None:
    assert same(history_from_event_protos(history_events_to_proto(history)), history)


@given(some.slates())
def test_a_served_slate_keeps_every_input(slate: ServedSlate) -> None:
    assert same(slate_from_proto(slate_to_proto(slate)), slate)


@given(some.slates(), st.booleans())
def test_a_slate_of_the_log_is_the_same_before_and_after_it_is_read(slate: ServedSlate, over_grpc: bool) -> None:
    stored = fact_to_bytes(slate)
    found = fact_from_bytes(stored)
    if over_grpc:
        found = record_from_proto(record_to_proto(LogRecord(Watermark.of(1), 1, "", found))).fact
    assert isinstance(found, ServedSlate)

    assert found.shown_item_ids == slate.shown_item_ids
    assert fact_to_bytes(found) == stored
    assert same(replace(found, arm="another"), replace(slate, arm="another"))
    assert same(pickle.loads(pickle.dumps(found)), slate)  # noqa: S301  # our own bytes
    assert same(found, slate)
    assert found.shown_item_ids == slate.shown_item_ids
    assert fact_to_bytes(found) == stored


def test_a_slate_is_read_once_by_threads_that_look_at_the_same_time() -> None:
    slate = slate_of("ada", [f"film-{number}" for number in range(300)])
    for _ in range(50):
        found = fact_from_bytes(fact_to_bytes(slate))
        assert isinstance(found, ServedSlate)

        with ThreadPoolExecutor(4) as threads:
            values = list(threads.map(lambda _, each=found: each.values.tolist(), range(8)))

        assert values == 8 * [slate.values.tolist()]


def test_a_slate_whose_columns_do_not_fit_says_so_when_they_are_looked_at() -> None:
    message = slate_to_proto(slate_of("ada", ["film"]))
    message.candidates.popularity.append(1.0)
    found = unread_slate(message, message.SerializeToString())

    assert found.shown_item_ids == ("film",)
    with pytest.raises(ValueError, match="popularity has 2 values for 1 item_ids"):
        _ = found.candidates
    with pytest.raises(AttributeError, match="no_such_column"):
        _ = found.no_such_column  # type: ignore[attr-defined]


FACTS = st.one_of(
    st.none(),
    some.events(),
    some.slates(),
    some.items(),
    some.users(),
    st.builds(ItemDeletion, some.ids),
    st.builds(Erasure, some.times_ms),
    st.builds(Expiry, some.times_ms, some.times_ms, some.times_ms),
)


@given(FACTS, st.integers(1, 2**60), some.words, some.times_ms)
def test_a_log_record_survives_the_wire(fact: Fact | None, offset: int, subject: str, recorded_ms: int) -> None:
    record = LogRecord(Watermark.of(offset), recorded_ms, subject, fact)

    assert same(record_from_proto(record_to_proto(record)), record)


@given(some.histories(), st.none() | some.users(), some.filters(), some.times_ms)
def test_a_retrieval_request_survives_the_wire(history: History, user: Any, wanted: Any, time_ms: int) -> None:
    request = RetrievalRequest(history, time_ms, user, {"popular": 3}, wanted, ("seed",), "text", 2**64 - 1)

    assert same(retrieval_request_from_proto(retrieval_request_to_proto(request), now_ms=1), request)


@given(some.histories(), some.candidates(), st.none() | some.users(), some.times_ms)
def test_a_ranking_request_survives_the_wire(history: History, ranked: Candidates, user: Any, time_ms: int) -> None:
    request = RankingRequest(
        history, ranked, time_ms, user, budget_ms=7, explain=True, leave_out=32, describe_bundle=True
    )

    assert same(ranking_request_from_proto(ranking_request_to_proto(request), now_ms=1), request)


@given(st.integers(0, 4), st.data())
def test_scores_with_their_parts_survive_the_wire(count: int, data: st.DataObject) -> None:
    probabilities = data.draw(some.rows(count * 2)).reshape(count, 2)
    values = data.draw(some.rows(count * 2 * 3)).reshape(count, 2, 3)
    parts = ScoreParts(("a", "b", "c"), values, data.draw(some.rows(2)), data.draw(some.rows(2)))
    without = data.draw(some.rows(3 * count * 2)).reshape(3, count, 2) if count else np.empty((0, 0, 0), np.float32)
    kept = data.draw(st.booleans())
    bundle = TrainedBundle("m1", 1_700_000_000_000, 10, 1_600_000_000_000, {"two_stage_ndcg@10": 0.25})
    ratings = data.draw(some.rows(count))
    result = RankingResult((3, 4), probabilities, ratings, parts, "m1", "w1-0.5", kept, without, not kept, bundle)
    header = data.draw(some.provenances()).__class__(model_version="m1")

    assert same(ranking_result_from_proto(ranking_result_to_proto(result, header)), result)


@given(some.histories(), st.frozensets(some.ids, max_size=3), st.none() | some.users())
def test_a_user_state_survives_the_wire(history: History, consumed: frozenset[str], profile: Any) -> None:
    state = UserState(
        "u",
        history,
        consumed,
        frozenset({"h"}),
        ("s",),
        ("f",),
        profile,
        {3: 2},
        {"c": 0.5},
        "w1",
        True,
        blocked_ids=frozenset({"b"}),
    )

    assert same(user_state_from_proto(user_state_to_proto(state)), state)


def test_candidate_columns_of_different_lengths_are_refused_by_name() -> None:
    message = candidate_pb2.CandidateColumns(item_ids=["a", "b"], trend=[1.0])

    with pytest.raises(ValueError, match=r"candidates\.trend has 1 values for 2 item_ids"):
        candidates_from_proto(message)


def test_empty_candidate_columns_mean_not_known() -> None:
    columns = candidates_from_proto(candidate_pb2.CandidateColumns(item_ids=["a", "b"]))

    assert len(columns.trend) == 0
    assert same(candidates_from_proto(candidates_to_proto(columns)), columns)


@pytest.mark.parametrize("seconds", [2**63 - 1, -(2**63), 10**16, -(10**16)])
def test_a_moment_that_no_calendar_has_stays_within_64_bits_also_as_a_difference(seconds: int) -> None:
    time_ms = time_from_proto(Timestamp(seconds=seconds))

    assert np.int64(time_ms) - np.int64(-time_ms) == 2 * time_ms
    assert time_ms * seconds > 0
