"""The ranker's question and answer as JSON: nothing is lost on the way to a peer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shared.domain.ranking import RankingRequest
from shared.model.ranker import RankerModel
from shared.model.registry import Registry
from tests.benchmarks.peers.questions import COLUMNS, answer_of, question_of, request_of
from tests.benchmarks.ranking_requests import current_bundle, made_up_requests
from tests.benchmarks.transports import Dialect
from tests.integration.ranking.real_bundle import publish_ranker


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> tuple[RankerModel, RankingRequest]:
    """A ranker with random weights, and a question to it."""
    folder = tmp_path_factory.mktemp("bundle")
    item_ids = tuple(f"item-{number}" for number in range(400))
    publish_ranker(folder / "registry", folder / "scratch", item_ids, 1_790_000_000_000)
    bundle = current_bundle(str(folder / "registry"), folder / "local")
    (request,) = made_up_requests(bundle, 1)
    return RankerModel.load(bundle), request


def test_a_question_that_went_through_json_asks_the_same(ranker: tuple[RankerModel, RankingRequest]) -> None:
    _, request = ranker

    again = request_of(json.loads(json.dumps(question_of(request))))

    assert again.time_ms == request.time_ms
    assert again.history.item_ids == request.history.item_ids
    assert again.candidates.item_ids == request.candidates.item_ids
    for name, kind in COLUMNS:
        asked = getattr(request.candidates, name)
        assert np.array_equal(getattr(again.candidates, name), asked)
        assert asked.dtype == kind


def test_an_answer_through_json_holds_the_probabilities(ranker: tuple[RankerModel, RankingRequest]) -> None:
    model, request = ranker
    (result,) = model.score([request])

    answer = json.loads(json.dumps(answer_of(result)))

    assert answer["model_version"] == model.version
    assert np.array_equal(np.array(answer["probabilities"], np.float32), result.probabilities)


def test_an_api_that_takes_many_questions_gets_a_list_and_gives_one() -> None:
    dialect = Dialect("rank", "questions", many=True)

    assert dialect.wrapped({"time_ms": 1}) == {"questions": [{"time_ms": 1}]}
    assert dialect.unwrapped([{"probabilities": []}]) == {"probabilities": []}


def test_a_registry_without_a_bundle_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no bundle"):
        current_bundle(Registry(str(tmp_path)).url, tmp_path / "local")
