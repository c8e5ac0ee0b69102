"""What the ranker is told about a candidate, feature by feature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from shared.domain.vocabulary import UNKNOWN_ROW
from shared.model.item_features import Bags
from shared.model.knowledge import NAMES, CandidateArrays, KnowledgeSource, Statistics
from shared.model.scaler import Scaler
from shared.model.transitions import transition_table

N = 6
VECTORS = np.eye(N, dtype=np.float32)
SEQUENCES = (np.array([0, 1, 2, 3, 4, 5, 0, 1], np.int64), np.array([0, 6, 8], np.int64))
SOURCE = KnowledgeSource.of(
    transition_table(SEQUENCES, N, N, (0.5, 0.0)),
    Statistics.fit(SEQUENCES[0], np.array([5, 1, 3, 3, 3, 3, 5, 1], np.float32), N),
    VECTORS,
    Bags(np.arange(N + 1), np.array([0, 0, 1, 1, 2, 2]), np.ones(N, np.float32)),
    3,
)


def asked(history: list[int], rows: list[int]) -> CandidateArrays:
    count = len(rows)
    return CandidateArrays(
        time_ms=10_000_000,
        history_rows=np.array(history, np.int64),
        history_times_ms=np.arange(len(history), dtype=np.int64) * 1000,
        rows=np.array(rows, np.int64),
        ages_days=np.full(count, -1, np.float32),
        popularity=np.zeros(count, np.float32),
        trend=np.zeros(count, np.float32),
        retrieval_scores=np.zeros(count, np.float32),
        retrieval_ranks=np.zeros(count, np.int32),
        neighbour_scores=np.zeros(count, np.float32),
        neighbour_ranks=np.zeros(count, np.int32),
    )


def feature(name: str, request: CandidateArrays) -> npt.NDArray[np.float32]:
    return SOURCE.features(request)[:, NAMES.index(name)]


def test_what_usually_follows_the_latest_item_scores_highest() -> None:
    scores = feature("transition_latest", asked([5, 0], [1, 4, 5]))

    assert scores[0] == scores.max()
    assert scores[0] > scores[1]


def test_an_item_shares_what_the_interests_name() -> None:
    request = replace(asked([4, 2], [3, 5, 0]), interests=np.array([1, 2]))

    shared = feature("interests_shared", request)

    assert shared.tolist() == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 0])
    assert feature("interests_given", request).tolist() == [1, 1, 1]
    assert feature("interests_given", asked([4, 2], [3, 5, 0])).tolist() == [0, 0, 0]


def test_an_item_like_the_latest_one_shares_its_features() -> None:
    request = asked([4, 2], [3, 5, 0])

    assert feature("shared_latest", request).tolist() == pytest.approx([1, 0, 0])
    assert feature("shared_profile", request)[1] > 0


def test_nearness_is_the_cosine_with_items_of_the_history() -> None:
    request = asked([4, 2], [2, 4, 0])

    assert feature("near_latest", request).tolist() == pytest.approx([1, 0, 0])
    assert feature("near_best", request).tolist() == pytest.approx([1, 1, 0])
    assert feature("near_mean", request).tolist() == pytest.approx([0.5, 0.5, 0])


def test_what_was_there_before_is_known_and_how_recently() -> None:
    request = asked([2, 4], [4, 2, 0])

    assert feature("had_before", request).tolist() == [1, 1, 0]
    recently = feature("had_recently", request)
    assert recently[0] > recently[1] > recently[2] == 0


def test_a_source_that_did_not_give_the_item_says_so() -> None:
    request = replace(
        asked([1], [2, 3]),
        retrieval_scores=np.array([0.4, 0], np.float32),
        retrieval_ranks=np.array([1, 0], np.int32),
    )

    assert feature("retrieval_given", request).tolist() == [1, 0]
    assert feature("retrieval_top", request).tolist() == [1, 0]
    assert feature("retrieval_log_rank", request)[0] > feature("retrieval_log_rank", request)[1]


def test_items_that_the_training_data_liked_have_a_higher_value() -> None:
    values = feature("mean_value", asked([], [0, 1]))

    assert values[0] > 0 > values[1]


def test_a_new_item_is_known_to_be_new_and_nothing_is_made_up_about_it() -> None:
    request = asked([0, 1], [UNKNOWN_ROW, 2])
    columns = dict(zip(NAMES, SOURCE.features(request).T, strict=True))

    assert columns["new_item"].tolist() == [1, 0]
    for name in ("transition", "near_best", "shared_profile", "popularity_all_time", "mean_value", "had_before"):
        assert columns[name][0] == 0


@pytest.mark.parametrize("history", [[], [UNKNOWN_ROW], [UNKNOWN_ROW, 3]])
def test_histories_that_say_little_give_finite_features(history: list[int]) -> None:
    features = SOURCE.features(asked(history, [0, UNKNOWN_ROW]))

    assert features.shape == (2, len(NAMES))
    assert np.isfinite(features).all()


def test_a_feature_that_never_varied_in_training_is_silenced_for_ever() -> None:
    scaler = Scaler.fit(np.array([[1, 7], [3, 7]], np.float32))

    assert scaler.scaled(np.array([[3, 1000]], np.float32)).tolist() == [[1, 0]]


def test_scaled_features_are_cut_and_finite() -> None:
    scaler = Scaler.fit(np.array([[1.0], [3.0]], np.float32))

    scaled = scaler.scaled(np.array([[1e9], [-1e9], [np.nan], [np.inf]], np.float32))

    assert np.isfinite(scaled).all()
    assert np.abs(scaled).max() == 5
