"""Tests that need what a clone does not have are collected where a variable says where it is; see their docstrings."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.deploy.processes import Deployment
from tests.otlp_receiver import Traces, receiving

NEEDED = {
    "test_custom_resources.py": "WINNOW_TEST_CRDS",
    "test_api_server.py": "WINNOW_TEST_KUBECONFIG",
    "test_go_client.py": "WINNOW_TEST_GO_CLIENT",
}
collect_ignore = [name for name, variable in NEEDED.items() if not os.environ.get(variable)]


@pytest.fixture(scope="session")
def traces() -> Iterator[Traces]:
    """What the deployment tells of the requests that its callers trace."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory, traces: Traces) -> Iterator[Deployment]:
    """A running product without a ranker and without a bundle: it answers, degraded."""
    made = Deployment(tmp_path_factory.mktemp("deployment"), traces=traces.endpoint)
    with made.running():
        yield made
