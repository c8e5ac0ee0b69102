"""Annoy against exact search: recall as tuned, the same trees from the same seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.model.bundle import ITEMS, Bundle, open_bundle, write_bundle, write_strings
from shared.model.index import NONE, AnnoyItemIndex, Floats, best_of, exact_search, recall, tune
from tests.unit.model.bundles import facts
from tests.unit.model.vectors import unit_vectors

D = 16


def test_exact_search_gives_the_true_best_in_order() -> None:
    vectors, queries = unit_vectors(1, 200, D), unit_vectors(2, 5, D)

    found = exact_search(vectors, queries, 7)

    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :7]
    assert np.array_equal(found.rows, truth)
    assert np.all(np.diff(found.scores, axis=1) <= 0)


def test_equal_scores_are_ordered_by_row() -> None:
    rows = np.array([[5, 3, 9, NONE]])
    scores = np.array([[0.5, 0.5, 0.7, 9.0]], np.float32)

    found = best_of(rows, scores, 4)

    assert found.rows.tolist() == [[9, 3, 5, NONE]]
    assert found.scores[0, -1] == -np.inf


def test_more_results_than_items_are_padded() -> None:
    found = exact_search(unit_vectors(1, 3, D), unit_vectors(2, 2, D), 5)

    assert (found.rows[:, 3:] == NONE).all()
    assert np.isneginf(found.scores[:, 3:]).all()


def test_looking_at_every_item_finds_what_exact_search_finds() -> None:
    vectors, queries = unit_vectors(1, 500, D), unit_vectors(2, 20, D)
    index = AnnoyItemIndex.build(vectors, n_trees=8, seed=1)

    found = index.query(queries, 10, search_k=8 * 500)

    assert recall(found, exact_search(vectors, queries, 10)) == 1
    assert np.allclose(found.scores, exact_search(vectors, queries, 10).scores, atol=1e-6)


def test_scores_are_true_cosines_also_where_recall_is_low() -> None:
    vectors, queries = unit_vectors(1, 2000, D), unit_vectors(2, 4, D)

    found = AnnoyItemIndex.build(vectors, n_trees=1, seed=1).query(queries, 10, search_k=20)

    for query, rows, scores in zip(queries, found.rows, found.scores, strict=True):
        known = rows != NONE
        assert np.allclose(vectors[rows[known]] @ query, scores[known], atol=1e-6)


def test_tuning_reaches_the_recall_that_was_asked_for() -> None:
    vectors, queries = unit_vectors(1, 3000, D), unit_vectors(2, 50, D)

    index, tuning = tune(vectors, queries, k=50, target=0.9, seed=3)

    measured = recall(index.query(queries, 50, tuning.search_k), exact_search(vectors, queries, 50))
    assert measured == pytest.approx(tuning.recall)
    assert measured >= 0.9


def test_a_higher_target_costs_more_effort() -> None:
    vectors, queries = unit_vectors(1, 3000, D), unit_vectors(2, 50, D)

    efforts = [tune(vectors, queries, 50, target, seed=3)[1].search_k for target in (0.5, 0.99)]

    assert efforts[0] < efforts[1]


def test_a_target_that_cannot_be_reached_is_reported_as_missed() -> None:
    _, tuning = tune(unit_vectors(1, 300, D), unit_vectors(2, 10, D), k=10, target=1.1, seed=0)

    assert tuning.recall < tuning.target


@pytest.mark.parametrize("items", [1, 2, 3])
def test_a_tiny_catalogue_is_found_whole(items: int) -> None:
    index, tuning = tune(unit_vectors(1, items, D), unit_vectors(2, 3, D), k=100, target=1.0, seed=0)

    assert tuning.recall == 1
    assert (index.query(unit_vectors(5, 1, D), 100, tuning.search_k).rows >= 0).sum() == items


def test_the_same_seed_gives_the_same_trees(tmp_path: Path) -> None:
    vectors = unit_vectors(1, 400, D)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        AnnoyItemIndex.build(vectors, n_trees=4, seed=11).save(tmp_path / name)

    first, second = ((tmp_path / name / "index.annoy").read_bytes() for name in ("a", "b"))
    assert first == second


def test_an_index_out_of_a_bundle_answers_as_before(tmp_path: Path) -> None:
    vectors, queries = unit_vectors(1, 300, D), unit_vectors(2, 6, D)
    built = AnnoyItemIndex.build(vectors, n_trees=4, seed=1)
    built.save(tmp_path)

    loaded = AnnoyItemIndex.load(_sealed(tmp_path, vectors))

    assert np.array_equal(loaded.query(queries, 9, 200).rows, built.query(queries, 9, 200).rows)


def _sealed(folder: Path, vectors: Floats) -> Bundle:
    write_strings(folder / ITEMS, tuple(f"i{row}" for row in range(len(vectors))))
    write_bundle(folder, facts())
    return open_bundle(folder)
