"""Tests that need what a clone does not have are collected where a variable says where it is; see their docstrings."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.deploy.processes import Deployment

NEEDED = {
    "test_custom_resources.py": "WINNOW_TEST_CRDS",
    "test_api_server.py": "WINNOW_TEST_KUBECONFIG",
}
collect_ignore = [name for name, variable in NEEDED.items() if not os.environ.get(variable)]


@pytest.fixture(scope="session")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A running product without a ranker and without a bundle: it answers, degraded."""
    made = Deployment(tmp_path_factory.mktemp("deployment"))
    with made.running():
        yield made
