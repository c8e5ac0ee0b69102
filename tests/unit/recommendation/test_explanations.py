"""Explanations: numbers that recompute the score, and a sentence that a person understands."""

from __future__ import annotations

import math

import numpy as np
import pytest

from services.recommendation.explanation import approvals, influences, likeness
from services.recommendation.queries import Answer, Entry, Explanation
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.items import Item
from tests.fakes_services import down
from tests.unit.recommendation.front import NOW_MS, World, ask, events, losses, opened, user


async def explained(world: World, **asked: object) -> Answer:
    """One explained answer."""
    async with opened(world) as app:
        return await app.recommender.recommend(ask(explain=True, **asked))


async def test_the_score_is_the_sum_of_probability_times_weight_times_every_factor() -> None:
    answer = await explained(World(), page_size=50)

    factors = [factor for entry in answer.entries for _, factor in _explanation(entry).adjustments]
    assert any(factor != 1 for factor in factors), "otherwise this test shows little"
    for entry in answer.entries:
        assert _recomputed(entry) == pytest.approx(entry.score, abs=1e-5)


async def test_each_probability_is_recomputed_from_the_parts_of_its_logit() -> None:
    answer = await explained(World())

    for entry in answer.entries:
        for action in _explanation(entry).actions:
            logit = sum(value for _, value in action.parts)
            recomputed = 1 / (1 + math.exp(-(action.calibration_scale * logit + action.calibration_offset)))
            assert [name for name, _ in action.parts] == ["user_item", "item_bias", "interaction"]
            assert recomputed == pytest.approx(action.probability, abs=1e-5)


async def test_parts_are_asked_of_the_ranker_only_for_an_explanation() -> None:
    world = World()

    async with opened(world) as app:
        plain = await app.recommender.recommend(ask())
        await app.recommender.recommend(ask(explain=True))

    assert [request.explain for request in world.ranking.requests] == [False, True]
    assert all(entry.explanation is None for entry in plain.entries)


async def test_an_entry_is_explained_by_what_the_user_liked_of_its_kind() -> None:
    world = World()
    world.features.users["ann"] = user("ann", liked=["film-001"])

    answer = await explained(world, page_size=200)

    of_the_director = next(entry for entry in answer.entries if entry.item_id == "film-021")
    assert _explanation(of_the_director).sentence == "because you liked Film 1"
    assert [each.item_id for each in _explanation(of_the_director).because_of] == ["film-001"]
    assert _explanation(of_the_director).because_of[0].event_id == "event-film-001"


async def test_an_entry_like_nothing_the_user_knows_is_explained_by_its_best_source() -> None:
    world = World()
    world.candidates.sources = {"trending": ("film-010",)}
    answer = await explained(world, user_id="nobody", page_size=1)

    assert _explanation(answer.entries[0]).sentence == "because it is trending now"


async def test_in_retrievals_order_there_are_no_actions_and_the_score_is_that_of_the_place() -> None:
    world = World()
    world.ranking.error = down("ranking")

    answer = await explained(world)

    for place, entry in enumerate(answer.entries):
        factors = math.prod(factor for _, factor in _explanation(entry).adjustments)
        assert _explanation(entry).actions == ()
        assert entry.score == pytest.approx(1 / (1 + place) * factors)


async def test_the_expected_rating_is_told_where_the_bundle_knows_ratings() -> None:
    rated, unrated = World(), World()
    rated.ranking.rated = True

    with_ratings, without = await explained(rated), await explained(unrated)

    assert all(_explanation(entry).expected_rating is not None for entry in with_ratings.entries)
    assert all(_explanation(entry).expected_rating is None for entry in without.entries)


async def test_without_the_feature_store_explanations_still_add_up_and_the_loss_is_told() -> None:
    world = World()

    async with opened(world) as app:
        await app.recommender.recommend(ask())
        world.features.error = down("feature")
        session = ask("", session_events=tuple(events(["film-001"])), explain=True)
        answer = await app.recommender.recommend(session)

    assert ("explain", "unavailable") in losses(answer)
    for entry in answer.entries:
        assert _recomputed(entry) == pytest.approx(entry.score, abs=1e-5)


async def test_each_entry_names_its_sources_with_their_ranks() -> None:
    answer = await explained(World(), page_size=55)

    (entry,) = [each for each in answer.entries if each.item_id == "film-025"]
    ranks = {source.source: source.rank for source in entry.sources}
    assert ranks == {"retriever": 21, "neighbours": 6, "popular": 21}, "ranks among what may be shown"


def test_likeness_is_what_creator_categories_and_tags_share() -> None:
    one = Item("a", creator_id="x", categories=("war", "drama"), tags=("t",))

    assert likeness(one, one) == pytest.approx(1.0)
    assert likeness(one, Item("b", creator_id="x")) == pytest.approx(0.4)
    assert likeness(one, Item("b", categories=("war",))) == pytest.approx(0.2)
    assert likeness(Item("a"), Item("b")) == 0.0


def test_a_dislike_and_a_rating_below_the_users_mean_speak_for_nothing() -> None:
    history = History.of(
        [
            Event("1", "u", "a", EventType.RATING, 1, 2.0),
            Event("2", "u", "b", EventType.RATING, 2, 5.0),
            Event("3", "u", "c", EventType.DISLIKE, 3),
            Event("4", "u", "d", EventType.CLICK, 4),
            Event("5", "u", "e", 4711, 5),
        ]
    )

    assert approvals(history) == [False, True, False, True, False]


def test_the_strongest_influences_come_first_and_each_item_once() -> None:
    names = ["a", "b", "c", "d", "b"]
    items = {name: Item(name, categories=("x",)) for name in names}
    items["d"] = Item("d", categories=("y",))
    history = History.of([Event(f"e{n}", "u", name, EventType.LIKE, NOW_MS + n) for n, name in enumerate(names)])

    told = influences(Item("new", categories=("x",)), history, items)

    assert [(each.item_id, each.event_id) for each in told] == [("b", "e4"), ("c", "e2"), ("a", "e0")]
    assert np.diff([each.influence for each in told]).max() < 0


def _explanation(entry: Entry) -> Explanation:
    assert entry.explanation is not None
    return entry.explanation


def _recomputed(entry: Entry) -> float:
    score = sum(action.probability * action.weight for action in _explanation(entry).actions)
    return math.prod((score, *(factor for _, factor in _explanation(entry).adjustments)))
