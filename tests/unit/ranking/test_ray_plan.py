"""The environment that Ray is started with."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from services.ranking.ray_plan import RayPlan, ReplicaConfig, environment
from services.ranking.run_folder import RunFolder
from services.ranking.settings import RankingSettings
from shared.kernel.config import ConfigError, load
from shared.kernel.process import ProcessSettings

FOLDER = RunFolder(Path("/srv/winnow/run"))


def plan(**settings: object) -> RayPlan:
    loaded = load(RankingSettings, **settings)
    return RayPlan(ReplicaConfig(loaded, load(ProcessSettings), "secret", ()), FOLDER.ray_dir)


def test_an_own_ray_is_marked_closed_and_quiet() -> None:
    environ = environment(plan(), FOLDER, {"PATH": "/bin", "RAY_ENABLE_AUTO_CONNECT": "1"})

    name, _, value = FOLDER.mark.partition("=")
    assert environ[name] == value
    assert environ["PATH"] == "/bin"
    assert environ["RAY_AUTH_MODE"] == "token"
    assert environ["RAY_ENABLE_AUTO_CONNECT"] == "0"
    assert environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert int(environ["RAY_SERVE_GRPC_MAX_MESSAGE_SIZE"]) == 8 * 1024 * 1024


def test_every_ray_has_a_token_of_its_own() -> None:
    tokens = {environment(plan(), FOLDER, {})["RAY_AUTH_TOKEN"] for _ in range(2)}

    assert len(tokens) == 2


def test_an_operators_variables_win_where_nothing_depends_on_ours() -> None:
    assert environment(plan(), FOLDER, {"RAY_ROTATION_MAX_BYTES": "7"})["RAY_ROTATION_MAX_BYTES"] == "7"


def test_a_clusters_own_settings_are_left_alone() -> None:
    inherited = {"RAY_AUTH_MODE": "disabled", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1"}

    environ = environment(plan(ray_address="ray-head:6379"), FOLDER, inherited)

    assert {name: environ[name] for name in inherited} == inherited
    assert "RAY_AUTH_TOKEN" not in environ


def test_replicas_can_import_what_this_process_can() -> None:
    roots = environment(plan(), FOLDER, {})["PYTHONPATH"].split(os.pathsep)

    assert str(Path(__file__).parents[3]) in roots


@pytest.mark.parametrize(("replicas", "cpus", "expected"), [(1, 1.0, 1), (3, 0.5, 2), (1, 0.0, 1), (2, 2.0, 4)])
def test_ray_offers_as_many_processors_as_the_replicas_take(replicas: int, cpus: float, expected: int) -> None:
    assert plan(replicas=replicas, replica_cpus=cpus).cpus == expected


def test_a_plan_survives_the_way_to_its_process_and_shows_no_secret() -> None:
    original = plan(address="127.0.0.1:4321")

    arrived = pickle.loads(pickle.dumps(original))  # noqa: S301 - what the code under test does

    assert arrived == original
    assert "secret" not in repr(original)


@pytest.mark.parametrize("address", ["localhost", "127.0.0.1:port", ":50054", "127.0.0.1:70000"])
def test_an_address_that_is_none_names_its_variable(address: str) -> None:
    with pytest.raises(ConfigError, match="WINNOW_RANKING_ADDRESS"):
        load(RankingSettings, address=address)
