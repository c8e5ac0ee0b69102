"""The ranker as it is served: company changes nothing, the parts add up, and odd requests are normal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.domain.history import History
from shared.domain.items import User
from shared.domain.ranking import Candidates, RankingRequest, RankingResult
from shared.model.ranker_network import PARTS
from tests.unit.model import networks

MODEL = networks.ranker()
TOLERANCE = 1e-5


def scored(request: RankingRequest) -> RankingResult:
    (result,) = MODEL.score([request])
    return result


def only(candidates: Candidates, places: list[int]) -> Candidates:
    """Some of the candidates, everything else as it was."""
    columns = {
        name: getattr(candidates, name)[places]
        for name in ("ages_days", "popularity", "trend", "retrieval_scores", "retrieval_ranks",
                     "neighbour_scores", "neighbour_ranks")
    }  # fmt: skip
    return replace(candidates, item_ids=tuple(candidates.item_ids[place] for place in places), **columns)


def test_several_users_at_once_get_the_scores_they_get_alone() -> None:
    requests = [networks.request(seed, length, count) for seed, (length, count) in
                enumerate([(0, 5), (1, 40), (30, 12), (50, 1), (7, 7)])]  # fmt: skip

    together = MODEL.score(requests)

    for request, result in zip(requests, together, strict=True):
        alone = scored(request)
        assert np.allclose(result.probabilities, alone.probabilities, atol=TOLERANCE)
        assert np.allclose(result.ratings, alone.ratings, atol=TOLERANCE)


def test_interests_and_attributes_of_the_user_change_the_scores() -> None:
    request = networks.request(3, 0, 30)
    users = (None, User("u", ("genre-1",)), User("u", ("genre-2",)), User("u", (), {"plan": "a"}))

    results = [scored(replace(request, user=user)).probabilities for user in users]

    for number, result in enumerate(results):
        assert not any(np.allclose(result, other, atol=1e-3) for other in results[:number])


def test_a_user_who_tells_nothing_known_is_as_nobody() -> None:
    request = networks.request(3, 5, 30)
    silent = User("u", ("an interest that nothing has",), {"shoe size": 44.0})

    answers = [scored(replace(request, user=user)).probabilities for user in (None, User("u"), silent)]

    assert np.allclose(answers[0], answers[1], atol=TOLERANCE)
    assert np.allclose(answers[0], answers[2], atol=TOLERANCE)


def test_a_score_does_not_depend_on_the_other_candidates() -> None:
    request = networks.request(3, 20, 30)
    places = [17, 2, 29]

    fewer = scored(replace(request, candidates=only(request.candidates, places)))

    assert np.allclose(scored(request).probabilities[places], fewer.probabilities, atol=TOLERANCE)


def test_the_probabilities_can_be_computed_again_from_the_parts() -> None:
    result = scored(networks.request(4, 12, 25, explain=True))

    assert result.parts is not None
    assert result.parts.names == PARTS
    logits = result.parts.values.sum(-1)
    again = 1 / (1 + np.exp(-(result.parts.scales * logits + result.parts.offsets)))
    assert np.allclose(again, result.probabilities, atol=1e-5)
    assert (np.abs(result.parts.values).max(axis=(0, 1)) > 0).all(), "a part that is always 0 explains nothing"


@pytest.mark.parametrize("length", [0, 3, 60])
def test_leaving_an_event_out_gives_the_scores_of_the_history_without_it(length: int) -> None:
    request = networks.request(11, length, 7)

    result = scored(replace(request, leave_out=5))

    assert len(result.without_event) == min(5, length)
    assert np.allclose(result.probabilities, scored(request).probabilities, atol=TOLERANCE)
    for age, without in enumerate(result.without_event):
        shorter = replace(request, history=request.history.without(length - 1 - age))
        assert np.allclose(without, scored(shorter).probabilities, atol=1e-5)
        assert not np.allclose(without, result.probabilities, atol=1e-5)


def test_parts_come_only_when_asked_for() -> None:
    assert scored(networks.request(4, 12, 25)).parts is None


@pytest.mark.parametrize("length", [0, 1, 500])
def test_any_length_of_history_gives_finite_answers(length: int) -> None:
    result = scored(networks.request(5, length, 10))

    assert result.probabilities.shape == (10, 2)
    assert np.isfinite(result.probabilities).all()
    assert np.isfinite(result.ratings).all()


def test_only_the_latest_events_of_a_long_history_count() -> None:
    request = networks.request(6, 100, 10)
    latest = replace(request, history=request.history.latest(networks.SETTINGS.history_limit))

    assert np.allclose(scored(request).probabilities, scored(latest).probabilities, atol=TOLERANCE)


def test_empty_columns_are_normal() -> None:
    floats, ranks = np.empty(0, np.float32), np.empty(0, np.int32)
    candidates = Candidates(("film-1", "film-2", "nobody"), floats, floats, floats, floats, ranks, floats, ranks)

    result = scored(RankingRequest(History.empty(), candidates, networks.NOW_MS))

    assert result.probabilities.shape == (3, 2)
    assert np.isfinite(result.probabilities).all()


def test_no_candidates_give_no_scores() -> None:
    request = networks.request(7, 5, 3)

    result = scored(replace(request, candidates=only(request.candidates, [])))

    assert result.probabilities.shape == (0, 2)
    assert MODEL.score([]) == []


def test_a_new_item_is_scored_by_its_content() -> None:
    request = networks.request(8, 20, 45)
    place = next(place for place, name in enumerate(request.candidates.item_ids) if name == "film-42")
    without = replace(request, candidates=replace(request.candidates, new_items={}))

    known, unknown = scored(request).probabilities, scored(without).probabilities

    assert not np.allclose(known[place], unknown[place], atol=1e-3)
    others = [other for other, name in enumerate(request.candidates.item_ids) if int(name[5:]) < len(networks.ITEMS)]
    assert np.allclose(known[others], unknown[others], atol=TOLERANCE)


@pytest.mark.parametrize("wild", [np.nan, np.inf, -np.inf, 1e30])
def test_wild_numbers_in_the_columns_never_make_wild_scores(wild: float) -> None:
    request = networks.request(9, 10, 8)
    columns = {name: np.full(8, wild, np.float32)
               for name in ("ages_days", "popularity", "trend", "retrieval_scores", "neighbour_scores")}  # fmt: skip

    result = scored(replace(request, candidates=replace(request.candidates, **columns)))

    assert np.isfinite(result.probabilities).all()


def test_a_bundle_without_ratings_gives_no_ratings() -> None:
    calibration = replace(MODEL.parts.calibration, value_spread=0.0)
    model = type(MODEL)(replace(MODEL.parts, calibration=calibration))

    (result,) = model.score([networks.request(1, 5, 4)])

    assert result.ratings.shape == (0,)
