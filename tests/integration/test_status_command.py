"""`winnow status` against a running product: one screen for people, the same for programs, the same by gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner
from winnow.v1 import recommendation_service_pb2
from winnow.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

from services.command.app import app
from tests.e2e.product import wait_until
from tests.integration.attacks.whole_product import Whole, whole_product

SLATES = 5
CALL_SECONDS = 120


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    """A product that has served some slates."""
    with whole_product(tmp_path_factory.mktemp("shown")) as running:
        front = RecommendationServiceStub(running.channel)
        for _ in range(SLATES):
            front.Recommend(recommendation_service_pb2.RecommendRequest(user_id="ann"), timeout=CALL_SECONDS)
        yield running


def shown(product: Whole, *options: str) -> str:
    """What the command prints."""
    done = CliRunner().invoke(app, ["status", "--address", product.address, *options], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    return done.output


WORDS = (
    "recommendation", "candidate_generation", "feature", "ranking", "feedback", "serving", "20231114T221320000-",
    "records behind", "slates a second", "p50", "p99", "degraded", "last training", "2023-11-14 22:13 UTC",
)  # fmt: skip


def test_the_screen_shows_services_versions_lag_rates_losses_and_the_last_training(product: Whole) -> None:
    screens: list[str] = []

    def complete() -> bool:
        """As on a machine that is not too busy for the page's probes."""
        screens.append(shown(product))
        return all(told in screens[-1] for told in WORDS)

    wait_until(complete, CALL_SECONDS, lambda: screens[-1])

    assert [word for word in WORDS if word not in screens[-1]] == []


def test_the_same_is_there_for_programs(product: Whole) -> None:
    pages: list[dict[str, Any]] = []

    def all_serving() -> bool:
        pages.append(json.loads(shown(product, "--json")))
        return [service["state"] for service in pages[-1]["services"]] == ["SERVICE_STATE_SERVING"] * 5

    wait_until(all_serving, CALL_SECONDS)
    told = pages[-1]

    assert (told["recommend_count"], told["lag_records"]) == (str(SLATES), "0")
    assert told["traffic"]["degraded_share"] == pytest.approx(int(told["degraded_count"]) / SLATES)
    assert told["traffic"]["p99_ms"] >= told["traffic"]["p50_ms"] > 0
    assert told["traffic"]["answers_per_second"] == pytest.approx(SLATES / told["traffic"]["window_seconds"])
    assert told["bundle"]["version"] == told["model_version"]
    assert told["quality_factor"] == 1


def test_a_system_that_does_not_answer_is_one_error_with_the_address(product: Whole) -> None:
    done = CliRunner().invoke(app, ["status", "--address", "127.0.0.1:1"])

    assert done.exit_code != 0
    assert "127.0.0.1:1" in done.output
