"""Experiments: everybody always in the same arm, arms in their proportions, each with its own surface."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from services.recommendation.experiments import Experiment
from services.recommendation.surfaces import SurfaceError, load_surfaces
from tests.unit.recommendation.front import World, ask, item_ids, opened

TWO = """
weights: {click: 1, like: 5, hide: -1}
diversity: {creator_decay: 0.9}
experiment:
  name: pins
  arms:
  - {name: control, share: 1}
  - {name: pinned, share: 1, changes: {diversity: {mmr_strength: 0.5}, rules: [{name: a, do: pin, items: [film-055]}]}}
"""


def experiment(name: str = "test", **shares: float) -> Experiment:
    """An experiment of arms with these shares."""
    return Experiment.model_validate(
        {"name": name, "arms": [{"name": arm, "share": share} for arm, share in shares.items()]}
    )


def test_arms_get_their_shares_and_everybody_stays_where_they_are() -> None:
    divided = experiment(a=3, b=1)

    counts = Counter(divided.arm_of(f"user-{number}") for number in range(20_000))

    assert counts["a"] / 20_000 == pytest.approx(0.75, abs=0.01)
    assert [divided.arm_of(f"user-{n}") for n in range(50)] == [divided.arm_of(f"user-{n}") for n in range(50)]


def test_another_experiment_divides_users_independently() -> None:
    one, other = experiment("one", a=1, b=1), experiment("other", a=1, b=1)

    same = sum(one.arm_of(f"user-{n}") == other.arm_of(f"user-{n}") for n in range(20_000))

    assert same / 20_000 == pytest.approx(0.5, abs=0.02)


def test_nobody_in_particular_is_in_the_first_arm() -> None:
    assert experiment(a=1, b=10**6).arm_of("") == "a"


def test_an_arm_changes_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text(TWO)

    surface = load_surfaces(tmp_path).named("default")

    assert surface.of_arm("control").diversity == surface.diversity
    assert surface.of_arm("pinned").diversity.mmr_strength == 0.5
    assert surface.of_arm("pinned").diversity.creator_decay == 0.9
    assert surface.of_arm("nobody-made-this") is surface


async def test_a_slate_is_made_by_its_users_arm_says_so_in_the_log_and_replays_to_itself(tmp_path: Path) -> None:
    world = World()
    (tmp_path / "default.yaml").write_text(TWO)

    async with opened(world, surfaces_dir=tmp_path) as app:
        answers = {f"user-{n}": await app.recommender.recommend(ask(f"user-{n}")) for n in range(12)}
        reports = [await app.recommender.replay(ask(""), answer.recommendation_id) for answer in answers.values()]

    arms = {slate.user_id: slate.arm for slate in world.feedback.slates}
    assert set(arms.values()) == {"pins/control", "pins/pinned"}
    for user_id, answer in answers.items():
        assert (item_ids(answer)[0] == "film-055") == (arms[user_id] == "pins/pinned")
    assert all(report.identical for report in reports)


async def test_a_session_is_divided_by_its_id(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text(TWO)

    async with opened(World(), surfaces_dir=tmp_path) as app:
        first = {item_ids(await app.recommender.recommend(ask("", session_id=f"s-{n}")))[0] for n in range(12)}

    assert "film-055" in first
    assert len(first) > 1


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        ("[{name: a, share: 1}]", "at least 2"),
        ("[{name: a, share: 1}, {name: a, share: 1}]", "named twice: a"),
        ("[{name: a, share: 0}, {name: b, share: 1}]", "experiment.arms.0.share"),
        ("[{name: a, share: 1}, {name: b, share: 1, changes: {diversity: {mmr: 1}}}]", "arm b: diversity.mmr"),
        ("[{name: a, share: 1}, {name: b, share: 1, changes: {experiment: {}}}]", "an experiment of its own"),
    ],
)
def test_an_experiment_that_makes_no_sense_is_refused(tmp_path: Path, arms: str, told: str) -> None:
    (tmp_path / "default.yaml").write_text(f"weights: {{click: 1}}\nexperiment: {{name: x, arms: {arms}}}")

    with pytest.raises(SurfaceError) as raised:
        load_surfaces(tmp_path)

    assert told in str(raised.value)
