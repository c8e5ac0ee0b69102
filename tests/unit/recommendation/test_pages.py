"""Later pages: they continue the same slate without repeats, from memory or from the log."""

from __future__ import annotations

import base64

import pytest

from services.recommendation.recommender import Recommender
from shared.domain.conditions import ItemFilter
from shared.domain.user_state import ItemState, ItemStatus
from shared.kernel.errors import ServiceError
from tests.fakes_services import down
from tests.unit.recommendation.front import World, all_pages, ask, item_ids, losses, opened, replaced, user


async def test_pages_continue_the_slate_without_repeats_until_nothing_is_left() -> None:
    async with opened(World()) as app:
        whole = await app.recommender.recommend(ask(page_size=200))
        pages = await all_pages(app.recommender, ask(page_size=10))

    shown = [item_id for page in pages for item_id in item_ids(page)]
    positions = [entry.position for page in pages for entry in page.entries]
    assert [len(page.entries) for page in pages] == [10, 10, 10, 10, 10, 5]
    assert set(shown) == set(item_ids(whole))
    assert positions == list(range(55))
    assert {page.recommendation_id for page in pages} == {pages[0].recommendation_id}


async def test_scores_fall_from_page_to_page() -> None:
    async with opened(World()) as app:
        pages = await all_pages(app.recommender, ask())

    scores = [entry.score for page in pages for entry in page.entries]
    assert scores == sorted(scores, reverse=True)


async def test_a_later_page_may_have_another_size() -> None:
    async with opened(World()) as app:
        first = await app.recommender.recommend(ask(page_size=10))
        second = await app.recommender.recommend(ask(page_size=30, page_token=first.next_page_token))

    assert len(second.entries) == 30
    assert set(item_ids(first)).isdisjoint(item_ids(second))


async def test_the_slate_is_read_from_the_log_when_memory_has_lost_it() -> None:
    world = World()

    async with opened(world, reserve_slates=0, page_token_secret="a secret of replicas") as app:
        first = await app.recommender.recommend(ask())
        await world.feedback.recorded.wait()
        second = await app.recommender.recommend(ask(page_token=first.next_page_token))

    async with opened(World(), page_token_secret="a secret of replicas") as app:
        whole = await app.recommender.recommend(ask(page_size=20))
    assert item_ids(first) + item_ids(second) == item_ids(whole)
    assert second.recommendation_id == first.recommendation_id


async def test_what_happened_since_the_first_page_is_skipped_and_filled_up() -> None:
    world = World()

    async with opened(world) as app:
        whole = item_ids(await app.recommender.recommend(ask(page_size=200)))
        first = await app.recommender.recommend(ask())
        liked, hidden, deleted = whole[10], whole[12], whole[14]
        world.features.users["ann"] = user("ann", liked=[*(f"film-{n:03}" for n in range(5)), liked], hidden=[hidden])
        world.features.states[deleted] = ItemState(deleted, ItemStatus.DELETED)
        second = await app.recommender.recommend(ask(page_token=first.next_page_token))

    expected = [item_id for item_id in whole[10:] if item_id not in {liked, hidden, deleted}][:10]
    assert item_ids(second) == expected
    assert [entry.position for entry in second.entries] == list(range(10, 20))


async def test_skipped_entries_repeat_nothing_on_the_page_after_the_next() -> None:
    world = World()

    async with opened(world) as app:
        whole = item_ids(await app.recommender.recommend(ask(page_size=200)))
        first = await app.recommender.recommend(ask())
        world.features.users["ann"] = user("ann", hidden=whole[10:35:2])
        second = await app.recommender.recommend(ask(page_token=first.next_page_token))
        third = await app.recommender.recommend(ask(page_token=second.next_page_token))

    allowed = [item_id for item_id in whole[10:] if item_id not in whole[10:35:2]]
    assert item_ids(second) + item_ids(third) == allowed[:20]


async def test_each_page_is_logged_with_its_rows_and_the_first_ones_inputs() -> None:
    world = World()

    async with opened(world) as app:
        pages = await all_pages(app.recommender, ask())

    assert [slate.first_position for slate in world.feedback.slates] == [0, 10, 20, 30, 40, 50]
    assert [list(slate.shown_item_ids) for slate in world.feedback.slates] == [item_ids(page) for page in pages]
    assert {id(slate.candidates) for slate in world.feedback.slates} == {id(world.feedback.slates[0].candidates)}


async def test_a_page_whose_checks_cannot_be_made_is_served_and_says_so() -> None:
    world = World()

    async with opened(world) as app:
        first = await app.recommender.recommend(ask())
        world.features.error = down("feature")
        second = await app.recommender.recommend(ask(page_token=first.next_page_token))

    assert len(second.entries) == 10
    assert losses(second) == {("hydrate", "unavailable"), ("hydrate-items", "unavailable")}


async def test_a_page_that_only_the_log_knows_is_lost_for_now_while_the_log_is_down() -> None:
    world = World()

    async with opened(world, reserve_slates=0, close_seconds=0) as app:
        first = await app.recommender.recommend(ask())
        await world.feedback.recorded.wait()
        world.feedback.error = down("feedback")
        lost = await app.recommender.recommend(ask(page_token=first.next_page_token))
        world.feedback.error = None
        second = await app.recommender.recommend(ask(page_token=lost.next_page_token))

    assert lost.entries == ()
    assert losses(lost) == {("page", "page-lost")}
    assert len(second.entries) == 10


async def test_a_token_of_a_slate_that_is_gone_has_expired() -> None:
    world = World()

    async with opened(world, reserve_slates=0) as app:
        first = await app.recommender.recommend(ask())
        await world.feedback.recorded.wait()
        world.feedback.slates.clear()
        world.now_ms += 10_000
        error = await _refusal(app.recommender, page_token=first.next_page_token)

    assert error.reason.name == "PAGE_TOKEN_EXPIRED"


async def test_a_slate_that_is_not_in_the_log_yet_is_not_taken_for_gone() -> None:
    world = World()

    async with opened(world, reserve_slates=0) as app:
        first = await app.recommender.recommend(ask())
        await world.feedback.recorded.wait()
        slates, world.feedback.slates = world.feedback.slates, []
        early = await app.recommender.recommend(ask(page_token=first.next_page_token))
        world.feedback.slates = slates
        second = await app.recommender.recommend(ask(page_token=early.next_page_token))

    assert losses(early) == {("page", "page-lost")}
    assert len(second.entries) == 10


async def test_a_slate_that_waits_for_the_log_gives_its_next_page() -> None:
    world = World()
    world.feedback.frozen = True

    async with opened(world, reserve_slates=0, close_seconds=0) as app:
        pages = await all_pages(app.recommender, ask())

    assert [len(page.entries) for page in pages] == [10, 10, 10, 10, 10, 5]


async def test_a_token_expires_after_its_life() -> None:
    world = World()

    async with opened(world, page_life_seconds=60) as app:
        first = await app.recommender.recommend(ask())
        world.now_ms += 61_000
        error = await _refusal(app.recommender, page_token=first.next_page_token)

    assert error.reason.name == "PAGE_TOKEN_EXPIRED"
    assert error.metadata == {"ageSeconds": "61", "limitSeconds": "60"}


@pytest.mark.parametrize(
    "change",
    [
        {"user_id": "bob"},
        {"user_id": "", "session_id": "ann"},
        {"surface": "feed"},
        {"filter": ItemFilter(exclude_item_ids=frozenset({"film-030"}))},
        {"candidate_item_ids": ("film-030",)},
    ],
    ids=["another user", "a session", "another surface", "another filter", "other candidates"],
)
async def test_a_token_of_another_request_is_refused(change: dict[str, object]) -> None:
    async with opened(World()) as app:
        first = await app.recommender.recommend(ask())
        error = await _refusal(app.recommender, page_token=first.next_page_token, **change)

    assert error.reason.name == "PAGE_TOKEN_INVALID"


async def test_a_token_of_another_process_is_refused_where_no_secret_is_shared() -> None:
    async with opened(World()) as one, opened(World()) as other:
        first = await one.recommender.recommend(ask())
        error = await _refusal(other.recommender, page_token=first.next_page_token)

    assert error.reason.name == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("place", range(0, 90, 7))
async def test_a_token_with_one_flipped_bit_is_refused(place: int) -> None:
    async with opened(World()) as app:
        first = await app.recommender.recommend(ask())
        token = first.next_page_token
        raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        raw[place % len(raw)] ^= 1
        error = await _refusal(app.recommender, page_token=base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="))

    assert error.reason.name == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("token", ["x", "not base64 !", "AAAA", "é", "A" * 1000])
async def test_a_token_that_is_none_is_refused(token: str) -> None:
    async with opened(World()) as app:
        error = await _refusal(app.recommender, page_token=token)

    assert error.reason.name == "PAGE_TOKEN_INVALID"


async def test_an_explained_later_page_recomputes_its_scores() -> None:
    async with opened(World()) as app:
        first = await app.recommender.recommend(ask(explain=True))
        second = await app.recommender.recommend(ask(explain=True, page_token=first.next_page_token))

    for entry in second.entries:
        assert entry.explanation is not None
        score = sum(action.probability * action.weight for action in entry.explanation.actions)
        for _, factor in entry.explanation.adjustments:
            score *= factor
        assert score == pytest.approx(entry.score, abs=1e-5)


async def _refusal(recommender: Recommender, **changes: object) -> ServiceError:
    with pytest.raises(ServiceError) as raised:
        await recommender.recommend(replaced(ask(), **changes))
    return raised.value
