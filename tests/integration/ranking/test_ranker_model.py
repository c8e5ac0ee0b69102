"""The real ranker behind the real ingress, as `python -m services.ranking` runs it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from winnow.v1.ranking_service_pb2 import RankResponse

from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.ranking import Candidates, RankingRequest, RankingResult
from shared.model.bundle import open_bundle
from shared.model.ranker import RankerModel
from shared.wire.ranking import ranking_request_to_proto, ranking_result_from_proto
from tests.integration.ranking.ranker import SERVING, Ranker, wait_until
from tests.integration.ranking.real_bundle import ACTIONS, publish_ranker

ITEM_IDS = tuple(f"film-{number}" for number in range(80))
CANDIDATES = 40
NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def ranker(alone: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranker]:
    # The answers are compared with float32's; which precision is faster is the machine's affair and its moment's.
    precision = {"WINNOW_RANKING_PRECISION": "float32"}
    ranker = Ranker(tmp_path_factory.mktemp("real"), module="services.ranking", environ=precision)
    publish(ranker, seed=1)
    ranker.start()
    try:
        ranker.wait_for(SERVING)
        yield ranker
    finally:
        ranker.close()


def publish(ranker: Ranker, seed: int) -> str:
    folder = ranker.data_dir
    return publish_ranker(folder / "registry", folder / f"scratch-{seed}", ITEM_IDS, NOW_MS + seed)


def user(number: int, *, explain: bool = False) -> RankingRequest:
    """The request of one of several users with different histories."""
    watched = ITEM_IDS[number : 2 * number]
    count = len(watched)
    history = History(
        watched,
        np.full(count, int(EventType.CLICK), np.int32),
        np.full(count, np.nan, np.float32),
        NOW_MS - 1000 * np.arange(count, 0, -1),
    )
    ids = (*ITEM_IDS[-CANDIDATES + 1 :], "brand-new")
    scores = np.linspace(1, 0, len(ids), dtype=np.float32)
    ranks = np.arange(1, len(ids) + 1, dtype=np.int32)
    new = {"brand-new": Item("brand-new", title="Title 3", categories=("category-3",))}
    candidates = Candidates(ids, scores, scores, scores, scores, ranks, scores, ranks, new)
    return RankingRequest(history, candidates, time_ms=NOW_MS, budget_ms=30_000, explain=explain)


def ranked(ranker: Ranker, request: RankingRequest) -> RankingResult:
    response: RankResponse = ranker.rank(ranking_request_to_proto(request))
    return ranking_result_from_proto(response)


def loaded(ranker: Ranker, version: str) -> RankerModel:
    return RankerModel.load(open_bundle(ranker.data_dir / "registry" / "bundles" / version))


def test_the_ingress_answers_what_the_model_says(ranker: Ranker) -> None:
    through = ranked(ranker, user(10))

    (direct,) = loaded(ranker, through.model_version).score([user(10)])
    assert through.actions == ACTIONS
    assert through.data_watermark == "w-1"
    np.testing.assert_allclose(through.probabilities, direct.probabilities, atol=1e-5)
    np.testing.assert_allclose(through.ratings, direct.ratings, atol=1e-4)


def test_an_item_that_the_bundle_does_not_know_is_scored_by_its_content(ranker: Ranker) -> None:
    result = ranked(ranker, user(10))

    assert np.isfinite(result.probabilities[-1]).all()
    assert 0 < result.probabilities[-1].min() <= result.probabilities[-1].max() < 1


def test_the_parts_of_an_explanation_make_up_the_probabilities(ranker: Ranker) -> None:
    result = ranked(ranker, user(10, explain=True))

    assert result.parts is not None
    logits = result.parts.scales * result.parts.values.sum(axis=-1) + result.parts.offsets
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), result.probabilities, atol=1e-5)


def test_users_who_are_scored_together_get_what_each_would_get_alone(ranker: Ranker) -> None:
    requests = [user(number) for number in range(12)]
    alone = [ranked(ranker, request) for request in requests]

    with ThreadPoolExecutor(len(requests)) as callers:
        together = list(callers.map(lambda request: ranked(ranker, request), requests))

    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)


def test_new_weights_are_taken_into_use(ranker: Ranker) -> None:
    before = ranked(ranker, user(10))

    version = publish(ranker, seed=2)
    wait_until(lambda: ranked(ranker, user(10)).model_version == version, "the swap")

    after = ranked(ranker, user(10))
    (direct,) = loaded(ranker, version).score([user(10)])
    assert not np.allclose(before.probabilities, after.probabilities, atol=1e-3)
    np.testing.assert_allclose(after.probabilities, direct.probabilities, atol=1e-5)
