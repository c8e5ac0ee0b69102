"""The rules of the comparison of indexes: the least effort that reaches the recall is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.model.index import exact_search
from tests.benchmarks.index_bench import made_up
from tests.benchmarks.index_contest import TUNING_QUERIES, Catalogue, Contestant, K, contest, outcome_of

ITEMS = 400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small catalogue."""
    made_up(ITEMS, np.random.default_rng(1)).save(tmp_path)
    return tmp_path


def the_first(vectors: np.ndarray, efforts: list[int]) -> Contestant:
    """Finds the best of the first items only, as many as its effort."""

    def search(query: np.ndarray, effort: int) -> np.ndarray:
        return exact_search(vectors[:effort], query[None], min(K, effort)).rows[0]

    return Contestant("first {effort}", search, efforts, vectors.nbytes)


def test_the_least_effort_that_reaches_the_recall_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contest("first", lambda vectors, _: the_first(vectors, [100, 200, ITEMS, 2 * ITEMS]), folder)

    outcome = outcome_of(capsys.readouterr().out)
    assert outcome.shape == f"first {ITEMS}"
    assert outcome.recall == 1
    assert outcome.size_mib * 2**20 == ITEMS * 64 * 4


def test_where_none_does_the_greatest_effort_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contest("first", lambda vectors, _: the_first(vectors, [100, 200]), folder)

    outcome = outcome_of(capsys.readouterr().out)
    assert outcome.shape == "first 200"
    assert 0.3 < outcome.recall < 0.7


def test_the_true_results_are_those_of_exact_search(folder: Path) -> None:
    task = Catalogue.load(folder)

    assert len(task.queries) == TUNING_QUERIES + 1000
    assert np.array_equal(task.truth[:3], exact_search(task.vectors, task.queries[:3], K).rows)
