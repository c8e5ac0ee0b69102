"""One ranker with Ray for all tests; who stops or kills it leaves it to the next test to start it again."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.integration.ranking.ranker import SERVING, Ranker


@pytest.fixture(scope="session")
def one_ranker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranker]:
    """The ranker, started or not."""
    ranker = Ranker(tmp_path_factory.mktemp("ranker"))
    try:
        yield ranker
    finally:
        ranker.close()


@pytest.fixture
def ray_ranker(one_ranker: Ranker) -> Ranker:
    """A ranker that serves a toy bundle."""
    if not one_ranker.published:
        one_ranker.publish(0.5)
    if not one_ranker.running:
        one_ranker.start()
    one_ranker.wait_for(SERVING)
    return one_ranker


@pytest.fixture(scope="module")
def alone(one_ranker: Ranker) -> None:
    """Stops the ranker of the other tests, so that a module's own one does not run beside it."""
    if one_ranker.running:
        one_ranker.signal(signal.SIGTERM)
