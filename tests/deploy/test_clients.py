"""The clients that callers copy from do what their page says: against real services, with certificates and a policy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from winnow.v1 import recommendation_service_pb2, recommendation_service_pb2_grpc

from tests.certificates import write_files
from tests.deploy.processes import ROOT, SHOP, Deployment
from tests.e2e.product import wait_until

CLIENTS = ROOT / "protos" / "clients"
BUILD_SECONDS, RUN_SECONDS = 300, 60


def found(program: str) -> str:
    """A program of the path, or one that lies beside this Python."""
    path = os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent)))
    place = shutil.which(program, path=path)
    assert place, f"{program} is missing: run make setup-dev, or install Node.js 20 or later"
    return place


def run(*command: str | Path, folder: Path = ROOT, seconds: int = RUN_SECONDS, **variables: str) -> str:
    """What a command prints; it must succeed."""
    path = os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent)))
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env={**os.environ, "PATH": path, **variables}, capture_output=True,
        text=True, check=False, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def typescript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript client, built as its head says."""
    folder = tmp_path_factory.mktemp("clients") / "typescript"
    shutil.copytree(CLIENTS / "typescript", folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(CLIENTS / "service_config.json", folder.parent)
    run(found("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts", folder=folder, seconds=BUILD_SECONDS)
    run(found("npm"), "run", "build", folder=folder, seconds=BUILD_SECONDS)
    run(sys.executable, ROOT / "protos" / "generate.py", "--descriptors", folder / "winnow.binpb")
    return folder


def settings(deployment: Deployment, folder: Path) -> dict[str, str]:
    """Addresses and the shop's certificate, as the environment of a pod."""
    files = write_files(folder / "tls", deployment.authority.issue_spiffe(SHOP), deployment.authority)
    return {
        "WINNOW_FRONT": deployment.address("recommendation"),
        "WINNOW_FEEDBACK": deployment.address("feedback"),
        "WINNOW_SLATE_SECONDS": str(RUN_SECONDS),  # the machine's speed must not decide a test
        "WINNOW_TLS_AUTHORITY_FILE": str(files.authority),
        "WINNOW_TLS_KEY_FILE": str(files.key),
        "WINNOW_TLS_CERTIFICATE_FILE": str(files.certificate),
    }


def wait_for_items(deployment: Deployment) -> None:
    """Until slates have items, and each service has what it needs of the others: connections, and the top lists."""
    deployment.fill()
    request = recommendation_service_pb2.RecommendRequest(user_id="nobody")
    with deployment.calling("recommendation", SHOP) as channel:
        front = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)

        def whole() -> bool:
            slate = front.Recommend(request, timeout=RUN_SECONDS)
            begins = [lost for lost in slate.header.degraded if lost.stage == "hydrate" or lost.reason == "stale"]
            return bool(slate.items) and not begins

        wait_until(whole, RUN_SECONDS)


def assert_the_click_was_followed(printed: str) -> None:
    """Both slates are full, the click's item is gone from the second, and its state was not stale."""
    told = json.loads(printed)

    assert len(told["recommendationId"]) > 10
    assert (len(told["slate"]), len(told["after"])) == (10, 10)
    assert told["slate"][0] not in told["after"]
    assert not [lost for lost in told["degraded"] if "stale" in lost]


def test_the_python_client_asks_tells_and_asks_again(deployment: Deployment, tmp_path: Path) -> None:
    wait_for_items(deployment)

    printed = run(
        sys.executable, CLIENTS / "python" / "shop.py", "customer-1", **settings(deployment, tmp_path),
        PYTHONPATH=str(ROOT / "shared" / "stubs"),
    )  # fmt: skip

    assert_the_click_was_followed(printed)


def test_the_typescript_client_asks_tells_and_asks_again(
    deployment: Deployment, typescript: Path, tmp_path: Path
) -> None:
    wait_for_items(deployment)

    printed = run(found("node"), typescript / "shop.js", "customer-2", **settings(deployment, tmp_path))

    assert_the_click_was_followed(printed)


def test_the_methods_that_are_repeated_exist_and_repeating_them_does_no_harm() -> None:
    config = json.loads((CLIENTS / "service_config.json").read_text())
    repeated = {f"{name['service']}/{name['method']}" for rule in config["methodConfig"] for name in rule["name"]}

    assert repeated == {
        "winnow.v1.RecommendationService/Recommend",
        "winnow.v1.RecommendationService/SimilarItems",
        "winnow.v1.RecommendationService/TrendingItems",
        "winnow.v1.RecommendationService/SearchItems",
        "winnow.v1.FeedbackService/RecordEvents",  # event_id makes a repeat the same event
    }
    assert {code for rule in config["methodConfig"] for code in rule["retryPolicy"]["retryableStatusCodes"]} == {
        "UNAVAILABLE",
        "CANCELLED",  # what a server that stops says of calls that it has not begun
    }
