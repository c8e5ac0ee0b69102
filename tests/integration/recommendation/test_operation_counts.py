"""What one answer costs in operations: calls to other services, bytes on the wire, forward passes.

Guards speed without measuring time; a change that costs more has to change a number here, and say why.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.items import Item
from shared.domain.provenance import Provenance
from shared.domain.ranking import RankingRequest, RankingResult
from shared.model.execution import Execution
from shared.model.ranker import RankerModel
from shared.wire.ranking import ranking_request_to_proto, ranking_result_to_proto
from shared.wire.slates import slate_to_proto
from tests.unit.model import networks
from tests.unit.recommendation.front import NOW_MS, World, ask, opened, user

CANDIDATES, EVENTS = 300, 200


def catalogue() -> tuple[Item, ...]:
    """As many items as are ranked, with ids of eight bytes."""
    return tuple(
        Item(f"item-{number:03}", creator_id=f"creator-{number % 50:03}", categories=(f"category-{number % 20:02}",))
        for number in range(CANDIDATES + EVENTS)
    )


def history() -> History:
    """A long history with the ids of its events."""
    return History(
        tuple(f"item-{CANDIDATES + number:03}" for number in range(EVENTS)),
        np.full(EVENTS, EventType.RATING, np.int32),
        np.full(EVENTS, 4, np.float32),
        NOW_MS - np.arange(EVENTS, 0, -1, dtype=np.int64) * 86_400_000,
        tuple(f"0123456789abcdef-{number:03}" for number in range(EVENTS)),
    )


@pytest.fixture
def world() -> World:
    """A user with a long history before a catalogue that fills every list."""
    made = World(films=catalogue())
    ids = tuple(item.item_id for item in made.films[:CANDIDATES])
    made.candidates.sources = {"retriever": ids[:200], "neighbours": ids[150:250], "popular": ids[200:]}
    made.features.users["ann"] = replace(user("ann"), history=history())
    return made


async def asked_once(world: World) -> RankingRequest:
    """What the ranker is asked for one answer."""
    async with opened(world) as app:
        await app.recommender.recommend(ask())
    return world.ranking.requests[-1]


async def test_an_answer_asks_each_service_once(world: World) -> None:
    async with opened(world) as app:
        before = world.features.calls, world.candidates.calls, world.ranking.calls
        await app.recommender.recommend(ask())

        spent = (
            world.features.calls - before[0],
            world.candidates.calls - before[1],
            world.ranking.calls - before[2],
        )
    assert spent == (2, 1, 1)  # of the features: the user's state, then all candidates at once


async def test_slates_that_wait_go_to_the_log_in_one_call(world: World) -> None:
    async with opened(world) as app:
        for _ in range(20):
            await app.recommender.recommend(ask())

    assert sum(world.feedback.batches) == 20
    assert len(world.feedback.batches) < 20


async def test_the_question_to_the_ranker_stays_small(world: World) -> None:
    request = await asked_once(world)

    assert len(request.candidates) == CANDIDATES
    assert len(request.history) == EVENTS
    # A candidate: 10 bytes for its id, 25 for its groups, 28 for seven numbers. An event: 10 and 12; no id of its own.
    assert len(ranking_request_to_proto(request).SerializeToString()) < CANDIDATES * 63 + EVENTS * 22 + 200


async def test_the_record_of_a_slate_stays_small(world: World) -> None:
    async with opened(world) as app:
        await app.recommender.recommend(ask())

    record = slate_to_proto(world.feedback.slates[0]).SerializeToString()
    # What the ranker was asked, with the events' ids and the groups; 30 bytes a candidate for its sources and scores.
    assert len(record) < CANDIDATES * (39 + 13 + 13 + 30) + EVENTS * (25 + 22) + 1_000


def test_the_answer_of_the_ranker_holds_four_bytes_for_each_number() -> None:
    probabilities, ratings = np.full((CANDIDATES, 2), 0.5, np.float32), np.full(CANDIDATES, 3, np.float32)
    result = RankingResult((1, 2), probabilities, ratings, parts=None, model_version="v")

    assert len(ranking_result_to_proto(result, Provenance()).SerializeToString()) < CANDIDATES * 12 + 100


def test_users_of_a_batch_share_one_forward_pass() -> None:
    model, passes = networks.ranker(), []
    model.parts.network.register_forward_hook(lambda *_: passes.append(1))

    model.score([networks.request(seed, seed, 30) for seed in range(8)])

    assert len(passes) == 1


def test_a_history_that_comes_again_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RankerModel(networks.ranker().parts, execution=Execution(cache_bytes=1 << 24))
    encode, encoded = model.parts.network.encode_latest, []
    monkeypatch.setattr(model.parts.network, "encode_latest", lambda *inputs: encoded.append(1) or encode(*inputs))

    for count in (30, 20, 10):
        model.score([networks.request(3, 25, count)])

    assert len(encoded) == 1
