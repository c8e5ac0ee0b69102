"""Explanations: numbers that recompute the score, and a sentence that a person understands."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from services.recommendation.influence import approvals, by_likeness, likeness
from services.recommendation.queries import Answer, Entry, Explanation, InfluenceMethod
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.items import Item
from tests.fakes_services import down
from tests.unit.recommendation.front import NOW_MS, World, all_pages, ask, events, losses, opened, user


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

    assert [request.explain for request in world.ranking.requests] == [False, True, False]
    assert [request.leave_out for request in world.ranking.requests] == [0, 0, 32]
    assert all(entry.explanation is None for entry in plain.entries)


async def test_an_event_counts_as_much_as_the_score_loses_without_it() -> None:
    world = World()
    world.features.users["ann"] = user("ann", liked=["film-001", "film-002", "film-003"])
    world.ranking.effects = {("film-001", "film-030"): 0.5, ("film-002", "film-030"): 2.0, ("film-003", "film-030"): -1}

    answer = await explained(world, page_size=200)
    world.features.users["ann"] = replace(
        user("ann", liked=["film-001", "film-003"]),
        consumed_item_ids=frozenset({"film-001", "film-002", "film-003"}),
    )
    without = await explained(world, page_size=200)

    entry, other = (next(each for each in page.entries if each.item_id == "film-030") for page in (answer, without))
    told = _explanation(entry)
    factors = math.prod(factor for _, factor in told.adjustments)
    difference = _sum(entry) - _sum(other)
    assert [each.item_id for each in told.because_of] == ["film-002", "film-001"], "what speaks against it is left out"
    assert told.because_of[0].influence == pytest.approx(difference * factors, abs=1e-5)
    assert told.because_of[0].event_id == "event-film-002"
    assert told.influence_method is InfluenceMethod.LEAVE_ONE_OUT
    assert told.sentence == "because you liked Film 2"


async def test_the_last_32_events_are_left_out_in_one_call_for_the_whole_page() -> None:
    world = World()
    world.features.users["ann"] = user("ann", liked=[f"film-{number:03}" for number in range(40)])
    world.ranking.effects = {("film-008", "film-050"): 9.0, ("film-007", "film-050"): 9.0}

    answer = await explained(world)

    assert world.ranking.calls == 2
    assert world.ranking.requests[1].candidates.item_ids == tuple(entry.item_id for entry in answer.entries)
    entry = next(each for each in answer.entries if each.item_id == "film-050")
    assert [each.item_id for each in _explanation(entry).because_of] == ["film-008"], "film-007 is older"


async def test_a_later_page_is_attributed_too() -> None:
    world = World()
    world.features.users["ann"] = user("ann", liked=["film-001"])
    world.ranking.effects = {("film-001", f"film-{number:03}"): 0.01 for number in range(60)}

    async with opened(world) as app:
        pages = await all_pages(app.recommender, ask(explain=True))

    told = [_explanation(entry) for page in pages for entry in page.entries]
    assert len(told) == 59
    assert {each.sentence for each in told} == {"because you liked Film 1"}


async def test_what_the_ranker_cannot_tell_is_compared_by_content_and_the_loss_is_listed() -> None:
    world = World()
    world.features.users["ann"] = user("ann", liked=["film-001"])
    world.ranking.answer_with = lambda result: replace(result, without_event=np.empty((0, 0, 0), np.float32))

    answer = await explained(world, page_size=200)

    assert losses(answer) == {("explain", "invalid-answer")}
    alike = next(entry for entry in answer.entries if entry.item_id == "film-021")
    assert _explanation(alike).influence_method is InfluenceMethod.LIKENESS


async def test_in_retrievals_order_an_entry_is_explained_by_what_the_user_liked_of_its_kind() -> None:
    world = World()
    world.ranking.keep_retrieval_order = True
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

    told = by_likeness(Item("new", categories=("x",)), history, items)

    assert [(each.item_id, each.event_id) for each in told] == [("b", "e4"), ("c", "e2"), ("a", "e0")]
    assert np.diff([each.influence for each in told]).max() < 0


def _explanation(entry: Entry) -> Explanation:
    assert entry.explanation is not None
    return entry.explanation


def _recomputed(entry: Entry) -> float:
    return math.prod((_sum(entry), *(factor for _, factor in _explanation(entry).adjustments)))


def _sum(entry: Entry) -> float:
    return sum(action.probability * action.weight for action in _explanation(entry).actions)
