"""Surfaces' files: validated, hashed, with an error that names file and field."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from services.recommendation.app import RecommendationApp
from services.recommendation.queries import Answer
from services.recommendation.settings import RecommendationSettings
from services.recommendation.surfaces import SurfaceError, load_surfaces
from shared.domain.events import EventType
from shared.kernel.config import ConfigError
from tests.unit.recommendation.front import World, ask, item_ids, opened


def folder(path: Path, **files: str) -> Path:
    """A folder with these surfaces."""
    for name, text in files.items():
        (path / f"{name}.yaml").write_text(text)
    return path


def test_every_kind_of_action_has_a_weight_on_the_packaged_surfaces() -> None:
    surfaces = load_surfaces()

    for name in ("default", "plain", "discover"):
        weights = surfaces.named(name).weights_of(tuple(kind for kind in EventType if kind > EventType.IMPRESSION))
        assert 0.0 not in weights
    assert surfaces.named("plain").weights == surfaces.named("default").weights
    assert surfaces.named("discover").weights == surfaces.named("default").weights


def test_what_the_user_would_regret_is_negative() -> None:
    weights = load_surfaces().named("default").weights

    assert {label for label, weight in weights.items() if weight < 0} == {"dislike", "hide"}


def test_an_unknown_surface_gets_the_defaults_configuration() -> None:
    surfaces = load_surfaces()

    assert surfaces.named("nobody-made-this") is surfaces.named("default")
    assert surfaces.named("") is surfaces.named("default")


def test_weights_go_by_the_rankers_actions() -> None:
    surface = load_surfaces().named("default")

    assert surface.weights_of((EventType.HIDE, EventType.IMPRESSION, EventType.LIKE, 99)) == (-20, 0.0, 5, 0.0)


def test_the_version_changes_with_any_value_and_only_then(tmp_path: Path) -> None:
    one = load_surfaces(folder(tmp_path, default="weights: {click: 1}")).version
    same = load_surfaces(folder(tmp_path, default="# a comment\nweights: {click: 1.0}")).version
    other = load_surfaces(folder(tmp_path, default="weights: {click: 2}")).version

    assert one == same
    assert one != other


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("weights: {clik: 1}", "unknown event type 'clik'"),
        ("weights: {click: .inf}", "finite"),
        ("weights: {click: .nan}", "finite"),
        ("weights: {hide: -1}", "no action has a positive weight"),
        ("weights: {click: 1}\nranked_candidates: 0", "ranked_candidates"),
        ("weights: {click: 1}\ndiversity: {creator_decay: 1.5}", "diversity.creator_decay"),
        ("weights: {click: 1}\ncaps: {per_author: 2}", "caps.per_author"),
        ("weight: {click: 1}", "weights: Field required"),
        ("weights: [", "cannot be read as YAML"),
        ("just text", "valid dictionary"),
    ],
)
def test_a_mistake_is_told_with_its_file_and_its_field(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SurfaceError) as raised:
        load_surfaces(folder(tmp_path, default=text))

    assert told in str(raised.value)
    assert str(tmp_path / "default.yaml") in str(raised.value)


def test_a_folder_without_a_default_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SurfaceError, match=r"no default\.yaml among the surfaces \(feed\)"):
        load_surfaces(folder(tmp_path, feed="weights: {click: 1}"))


async def test_a_wrong_surface_stops_the_start_and_says_which_setting_points_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="WINNOW_RECOMMENDATION_SURFACES_DIR"):
        async with opened(World(), surfaces_dir=tmp_path):
            pass


async def test_a_changed_file_is_at_work_with_the_next_request(tmp_path: Path) -> None:
    folder(tmp_path, default="weights: {click: 1}")
    async with opened(World(), surfaces_dir=tmp_path, surfaces_poll_seconds=0.01) as app:
        before = await app.recommender.recommend(ask())

        folder(tmp_path, default="weights: {click: 1}\nrules: [{name: a, do: pin, items: [film-055]}]")
        after = await until(app, lambda answer: answer.provenance.config_version != before.provenance.config_version)

    assert item_ids(before)[0] != "film-055"
    assert item_ids(after)[0] == "film-055"


async def test_a_new_surface_is_at_work_too_and_one_that_is_gone_gets_the_default(tmp_path: Path) -> None:
    folder(tmp_path, default="weights: {click: 1}", feed="weights: {click: 1}\nranked_candidates: 20")
    async with opened(World(), surfaces_dir=tmp_path, surfaces_poll_seconds=0.01) as app:
        (tmp_path / "feed.yaml").rename(tmp_path / "home.yaml")
        version = app.recommender.admission.surfaces.version
        await until(app, lambda answer: answer.provenance.config_version != version)

    assert app.recommender.admission.surfaces.named("home").ranked_candidates == 20
    assert app.recommender.admission.surfaces.named("feed") is app.recommender.admission.surfaces.named("default")


async def test_a_mistake_keeps_the_old_configuration_and_says_what_is_wrong_until_it_is_put_right(
    tmp_path: Path,
) -> None:
    folder(tmp_path, default="weights: {click: 1}")
    async with opened(World(), surfaces_dir=tmp_path, surfaces_poll_seconds=0.01) as app:
        surfaces = app.recommender.admission.surfaces
        version = surfaces.version

        folder(tmp_path, default="weights: {clik: 1}")
        await until(app, lambda _: bool(surfaces.refused))
        status = await app.recommender.status()
        kept = await app.recommender.recommend(ask())

        folder(tmp_path, default="weights: {click: 2}")
        await until(app, lambda _: not surfaces.refused)

    assert "unknown event type 'clik'" in status.services[0].detail
    assert str(tmp_path / "default.yaml") in status.services[0].detail
    assert kept.provenance.config_version == version
    assert surfaces.version != version


def test_settings_have_the_documented_defaults() -> None:
    settings = RecommendationSettings(_env_file=None)

    assert settings.address == "127.0.0.1:50051"
    assert settings.page_token_secret is None


async def until(app: RecommendationApp, true_of: Callable[[Answer], bool]) -> Answer:
    """Ask until something is true of the answer."""
    while not true_of(answer := await app.recommender.recommend(ask())):
        await asyncio.sleep(0.005)
    return answer
