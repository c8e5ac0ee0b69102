"""Slots left to chance: who may come, with which exact probability, and the same again from the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.recommendation.exploration_settings import Exploration, Method
from services.recommendation.exploring import explored, posterior, under_exposed, win_probabilities
from services.recommendation.slate import Order
from shared.domain.events import EventType
from shared.domain.slates import Evidence
from tests.fakes_services import down
from tests.unit.recommendation.front import World, ask, item_ids, opened

HEAD = "weights: {click: 1, like: 5, hide: -20}\n"
COUNT = 20


def ranked(count: int = COUNT, pinned: tuple[int, ...] = ()) -> Order:
    """Rows in their own order."""
    moves = (("pin:a", np.array(pinned, np.int32)),) if pinned else ()
    return Order(np.arange(count, dtype=np.int32), np.linspace(1, 0, count), moves=moves)


def evidence(*rows: int, exposures: float = 0, successes: float = 0) -> Evidence:
    """The same evidence of some rows."""
    return Evidence(
        np.array(rows, np.int32),
        np.full(len(rows), exposures, np.float32),
        np.full(len(rows), successes, np.float32),
    )


def test_without_slots_or_choices_the_order_stays_and_has_no_chance() -> None:
    order = ranked()

    assert explored(order, evidence(15), Exploration(), 10, 1) is order
    assert explored(order, Evidence(), Exploration(slots=2), 10, 1) is order


@pytest.mark.parametrize("method", list(Method))
def test_frequencies_over_many_seeds_are_the_logged_probabilities(method: Method) -> None:
    chances = Exploration(slots=1, method=method, first_position=3, probability=0.5, candidates=4)
    known = Evidence(
        np.array([3, 8, 15, 19], np.int32),
        np.array([40, 10, 2, 0], np.float32),
        np.array([6, 0, 1, 0], np.float32),
    )
    seen: Counter[int] = Counter()
    told: dict[int, float] = {}
    draws = 4_000
    for seed in range(draws):
        order = explored(ranked(), known, chances, 10, seed)
        row = int(order.rows[3])
        seen[row] += 1
        told[row] = float(order.propensities[3])

    assert sum(told.values()) == pytest.approx(1)
    for row, probability in told.items():
        spread = np.sqrt(probability * (1 - probability) / draws)
        assert abs(seen[row] / draws - probability) < 4 * spread


def test_epsilon_gives_every_choice_its_even_share_and_the_ranked_entry_the_rest() -> None:
    chances = Exploration(slots=1, first_position=0, probability=0.2, candidates=4)
    orders = [explored(ranked(), evidence(0, 5, 6, 7), chances, 10, seed) for seed in range(200)]

    told = {int(order.rows[0]): round(float(order.propensities[0]), 6) for order in orders}

    assert told == {0: 0.85, 5: 0.05, 6: 0.05, 7: 0.05}


@given(
    st.lists(st.tuples(st.floats(0.3, 400), st.floats(0.3, 400)), min_size=1, max_size=20),
)
def test_the_probabilities_of_winning_add_up_to_one(pairs: list[tuple[float, float]]) -> None:
    alphas, betas = np.array(pairs).T

    shares = win_probabilities(posterior(alphas, betas))

    assert shares.sum() == pytest.approx(1, abs=1e-9)
    assert (shares >= 0).all()


def test_the_probability_of_winning_is_that_of_the_exact_posteriors() -> None:
    alphas, betas = np.array([2.0, 3.0]), np.array([8.0, 7.0])

    shares = win_probabilities(posterior(alphas, betas))

    assert shares[1] == pytest.approx(_beta_wins(2, 8, 3, 7), abs=1e-3)


def test_what_succeeded_more_often_is_more_likely_to_win_and_nothing_is_impossible() -> None:
    shares = win_probabilities(posterior(np.array([1.0, 5.0, 1.0]), np.array([9.0, 9.0, 30.0])))

    assert shares[1] > shares[0] > shares[2] > 0


def test_the_same_seed_makes_the_same_choices() -> None:
    chances = Exploration(slots=3, method=Method.THOMPSON, first_position=1, every=3, probability=0.7)
    known = evidence(*range(5, 20))

    first, again = (explored(ranked(), known, chances, 10, 7) for _ in range(2))
    others = {tuple(explored(ranked(), known, chances, 10, seed).rows.tolist()) for seed in range(20)}

    assert first.rows.tolist() == again.rows.tolist()
    assert first.propensities.tolist() == again.propensities.tolist()
    assert len(others) > 10


def test_a_pinned_place_is_left_to_its_pin_and_the_slot_moves_below() -> None:
    chances = Exploration(slots=1, first_position=3, probability=1, candidates=1)

    order = explored(ranked(pinned=(3, 12)), evidence(12, 15), chances, 10, 1)

    assert order.rows[3] == 3
    assert order.rows[4] == 15
    assert order.rows[12] == 12


@settings(max_examples=200)
@given(data=st.data())
def test_chance_loses_nothing_moves_only_what_may_move_and_keeps_the_rest_in_order(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 30))
    rows = data.draw(st.lists(st.integers(0, count - 1), unique=True))
    chances = Exploration(
        slots=data.draw(st.integers(1, 5)),
        method=data.draw(st.sampled_from(Method)),
        first_position=data.draw(st.integers(0, 5)),
        every=data.draw(st.integers(1, 3)),
        probability=data.draw(st.floats(0.01, 1)),
        candidates=data.draw(st.integers(1, 5)),
    )
    before = ranked(count)

    after = explored(before, evidence(*sorted(rows)), chances, data.draw(st.integers(1, 10)), data.draw(st.integers(0)))

    assert sorted(after.rows.tolist()) == list(range(count))
    chosen = {row for _, each in after.moves for row in each.tolist()}
    assert chosen <= set(rows)
    assert [row for row in after.rows.tolist() if row not in chosen] == [r for r in range(count) if r not in chosen]
    assert ((after.propensities > 0) & (after.propensities <= 1)).all()


def test_only_what_was_shown_and_consumed_little_may_fill_a_slot() -> None:
    chances = Exploration(slots=1, exposure_budget=10, success_budget=5)
    exposures, successes = np.array([0, 10, 3, 3, 0], np.float32), np.array([0, 0, 5, 1, 0], np.float32)

    found = under_exposed(exposures, successes, np.array([True, True, True, True, False]), chances)

    assert found.rows.tolist() == [0, 3]
    assert found.exposures.tolist() == [0, 3]
    assert found.successes.tolist() == [0, 1]


async def test_an_explored_page_is_logged_with_its_probabilities_and_says_so(tmp_path: Path) -> None:
    world = _world()
    _surface(tmp_path, "{slots: 2, first_position: 2, every: 4, probability: 1, candidates: 8, success_budget: 15}")

    async with opened(world, surfaces_dir=tmp_path) as app:
        answer = await app.recommender.recommend(ask(explain=True))
        await world.feedback.recorded.wait()

    (slate,) = world.feedback.slates
    assert slate.propensities.tolist() == pytest.approx([1, 1, 1 / 8, 1, 1, 1, 1 / 8, 1, 1, 1])
    for position in (2, 6):
        entry = answer.entries[position]
        assert entry.explanation is not None
        assert ("exploration", 1.0) in entry.explanation.adjustments
        assert entry.item_id in {slate.candidates.item_ids[row] for row in slate.evidence.rows}


async def test_a_slot_chooses_among_the_named_sources_only(tmp_path: Path) -> None:
    world = _world()
    ids = [film.item_id for film in world.films]
    world.candidates.sources = {"retriever": tuple(ids[5:40]), "underexposed": ("film-050", "film-039")}
    chance = "slots: 1, first_position: 0, probability: 1, success_budget: 1000, sources: [underexposed]"
    _surface(tmp_path, "{" + chance + "}")

    async with opened(world, surfaces_dir=tmp_path) as app:
        first = {item_ids(await app.recommender.recommend(ask()))[0] for _ in range(30)}

    assert first == {"film-050", "film-039"}


async def test_an_item_that_spent_its_budget_is_not_explored_again(tmp_path: Path) -> None:
    world = _world()
    world.candidates.sources = {"retriever": tuple(film.item_id for film in world.films[30:45])}
    _surface(tmp_path, "{slots: 1, first_position: 9, probability: 1, exposure_budget: 2, success_budget: 1000}")

    async with opened(world, surfaces_dir=tmp_path) as app:
        before = {item_ids(await app.recommender.recommend(ask()))[9] for _ in range(30)}
        for film in world.films:
            _show(world, film.item_id, 2.0 if film.item_id != "film-044" else 1.9)
        after = {item_ids(await app.recommender.recommend(ask()))[9] for _ in range(30)}

    assert len(before) > 1
    assert after == {"film-044"}


async def test_without_the_catalogue_nobody_is_explored_because_nothing_is_known(tmp_path: Path) -> None:
    world = _world()
    _surface(tmp_path, "{slots: 1, first_position: 0, probability: 1, success_budget: 1000}")

    async with opened(world, surfaces_dir=tmp_path) as app:
        world.features.error = down("feature")
        slates = [await app.recommender.recommend(ask("", session_id="s")) for _ in range(3)]

    assert len({tuple(item_ids(slate)) for slate in slates}) == 1


async def test_the_log_keeps_how_often_the_choices_of_a_slot_had_been_shown(tmp_path: Path) -> None:
    world = _world()
    _surface(tmp_path, "{slots: 1, first_position: 0, probability: 1, success_budget: 1000, method: thompson}")
    for film in world.films:
        _show(world, film.item_id, 7.0)

    async with opened(world, surfaces_dir=tmp_path) as app:
        await app.recommender.recommend(ask())
        await world.feedback.recorded.wait()

    (slate,) = world.feedback.slates
    assert set(slate.evidence.exposures.tolist()) == {7.0}


async def test_nobody_is_shown_by_chance_what_they_would_regret(tmp_path: Path) -> None:
    world = _world()
    world.ranking.logits |= {film.item_id: (-2.0, -2.0, 3.0) for film in world.films[10:]}
    _surface(tmp_path, "{slots: 5, first_position: 0, every: 1, probability: 1, success_budget: 1000}")

    async with opened(world, surfaces_dir=tmp_path) as app:
        answer = await app.recommender.recommend(ask(page_size=5))

    assert all(entry.score > 0 for entry in answer.entries)


async def test_the_callers_candidates_are_never_left_to_chance(tmp_path: Path) -> None:
    world = _world()
    _surface(tmp_path, "{slots: 2, first_position: 0, probability: 1, success_budget: 1000}")
    given_items = tuple(film.item_id for film in world.films[20:40])

    async with opened(world, surfaces_dir=tmp_path) as app:
        slates = [await app.recommender.recommend(ask(candidate_item_ids=given_items)) for _ in range(5)]

    assert len({tuple(item_ids(slate)) for slate in slates}) == 1


def _world() -> World:
    world = World()
    world.ranking.actions = (int(EventType.CLICK), int(EventType.LIKE), int(EventType.HIDE))
    world.ranking.logits = {film.item_id: (1.0, 1.0, -9.0) for film in world.films}
    return world


def _show(world: World, item_id: str, times: float) -> None:
    world.features.states[item_id] = replace(world.features.states[item_id], exposures=times)


def _surface(folder: Path, exploration: str) -> None:
    (folder / "default.yaml").write_text(f"{HEAD}exploration: {exploration}")


def _beta_wins(a: int, b: int, c: int, d: int) -> float:
    """P(Beta(c, d) > Beta(a, b)) by the midpoint rule, fine enough for three digits."""
    x: npt.NDArray[np.float64] = (np.arange(200_000) + 0.5) / 200_000
    first, second = x ** (a - 1) * (1 - x) ** (b - 1), x ** (c - 1) * (1 - x) ** (d - 1)
    below = np.cumsum(first) / first.sum()
    return float((below * second).sum() / second.sum())


def test_a_slot_that_pins_push_off_the_page_is_left_out() -> None:
    chances = Exploration(slots=1, first_position=4, probability=1, candidates=1)

    order = explored(ranked(pinned=(4,)), evidence(15), chances, 5, 1)

    assert order.rows.tolist() == list(range(COUNT))
    assert order.propensities.tolist() == [1.0] * COUNT
