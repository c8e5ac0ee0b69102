"""Bundles are trained once a session and copied into each test's own registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.candidate_generation.trained_bundle import seal_bundle, small_world, trained

CREATED_MS = 1_700_000_000_000
DAY_MS = 86_400_000


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two bundles of the small world, the second a day newer."""
    folder, world = tmp_path_factory.mktemp("bundles"), small_world()
    model = trained(world)
    first = seal_bundle(folder / "first", world, model, CREATED_MS)
    return first, seal_bundle(folder / "second", world, model, CREATED_MS + DAY_MS)
