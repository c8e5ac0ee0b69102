"""The distributions that a bundle keeps of its training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shared.model.bundle import ITEMS, open_bundle, write_bundle, write_strings
from shared.model.reference import BINS, Distribution, Reference
from tests.unit.model.bundles import facts, write_toy_bundle


def test_bins_hold_about_as_much_of_the_training_each() -> None:
    distribution = Distribution.of(np.random.default_rng(1).exponential(3, 10_000).astype(np.float32))

    assert len(distribution.shares) == BINS
    assert distribution.shares == pytest.approx(1 / BINS, abs=0.01)


def test_a_value_that_occurs_often_has_a_bin_of_its_own_whatever_its_last_digit() -> None:
    trained = np.array([0.0] * 70 + [0.69287] * 20 + [1.0986] * 10, np.float32)
    distribution = Distribution.of(trained)

    again = distribution.shares_of(trained + np.float32(3e-4))

    assert distribution.shares.tolist() == pytest.approx([0.7, 0.2, 0.1])
    assert again.tolist() == distribution.shares.tolist()
    assert distribution.stability(again) == 0


def test_what_was_always_the_same_is_one_bin() -> None:
    distribution = Distribution.of(np.ones(5, np.float32))

    assert distribution.stability(distribution.shares_of(np.array([7.0], np.float32))) == 0


def test_the_index_is_what_the_formula_says_and_finite_for_an_empty_bin() -> None:
    distribution = Distribution(np.array([0.0], np.float32), np.array([0.5, 0.5], np.float32))

    assert distribution.stability(np.array([0.8, 0.2])) == pytest.approx(0.3 * np.log(1.6) - 0.3 * np.log(0.4))
    assert np.isfinite(distribution.stability(np.array([1.0, 0.0])))


def test_a_bundle_gives_back_what_was_saved_and_an_older_one_has_none(tmp_path: Path) -> None:
    reference = Reference({name: Distribution.of(np.arange(n, dtype=np.float32)) for name, n in (("a", 50), ("b", 3))})
    folder = tmp_path / "new"
    folder.mkdir()
    write_strings(folder / ITEMS, ("i",))
    reference.save(folder)
    write_bundle(folder, facts())
    write_toy_bundle(tmp_path / "old")

    read = Reference.load(open_bundle(folder))

    assert read is not None
    assert list(read.distributions) == ["a", "b"]
    for name, distribution in reference.distributions.items():
        assert np.array_equal(read.distributions[name].edges, distribution.edges)
        assert np.array_equal(read.distributions[name].shares, distribution.shares)
    assert Reference.load(open_bundle(tmp_path / "old")) is None
