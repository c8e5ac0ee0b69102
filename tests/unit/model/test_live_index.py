"""The serving index sees every change at once and never under-fills while eligible items exist."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.vocabulary import Vocabulary
from shared.model.index import NONE, AnnoyItemIndex
from shared.model.live_index import LiveIndex
from tests.unit.model.vectors import unit_vectors

D = 8
KNOWN = 120
BASE = unit_vectors(1, KNOWN, D)
FRESH = unit_vectors(2, 60, D)
TREES = AnnoyItemIndex.build(BASE, n_trees=4, seed=1)
NAMES = Vocabulary(f"known-{row}" for row in range(KNOWN))


def live_index(*, exact: bool = False, search_k: int = 60) -> LiveIndex:
    return LiveIndex(TREES, NAMES, search_k, exact=exact)


def found_ids(index: LiveIndex, k: int, seed: int = 5) -> list[str]:
    rows = index.search(unit_vectors(seed, 1, D), k).rows[0]
    return index.ids(rows[rows != NONE])


def test_a_new_item_is_found_by_the_next_search() -> None:
    index, query = live_index(), unit_vectors(9, 1, D)

    index.upsert(["new"], query)

    found = index.search(query, 1)
    assert index.ids(found.rows[0]) == ["new"]
    assert found.scores[0, 0] == pytest.approx(1, abs=1e-5)


def test_a_deleted_item_is_gone_from_the_next_search() -> None:
    index = live_index()
    best = found_ids(index, 1)

    index.delete(best)

    assert best[0] not in found_ids(index, KNOWN)
    assert len(index) == KNOWN - 1


def test_a_deleted_item_comes_back_when_it_is_upserted_again() -> None:
    index = live_index()
    index.delete(["known-3"])

    index.upsert(["known-3"], BASE[3:4])

    assert "known-3" in found_ids(index, KNOWN)
    assert len(index) == KNOWN


def test_an_item_that_changed_is_found_once_and_by_its_new_vector() -> None:
    index, query = live_index(), unit_vectors(9, 1, D)

    index.upsert(["known-3"], query)
    index.upsert(["known-3"], query)

    assert found_ids(index, KNOWN + 5).count("known-3") == 1
    assert index.ids(index.search(query, 1).rows[0]) == ["known-3"]


def test_deleting_what_is_unknown_changes_nothing() -> None:
    index = live_index()

    index.delete(["nobody"])

    assert len(index) == KNOWN


def test_slots_and_ids_are_each_others_inverse() -> None:
    index = live_index()
    index.upsert(["new-1", "new-2"], FRESH[:2])

    slots = index.slots(["known-7", "new-2", "nobody"])

    assert slots[2] == NONE
    assert index.ids(slots[:2]) == ["known-7", "new-2"]


def test_an_eligible_mask_of_before_an_upsert_leaves_the_new_item_out() -> None:
    index = live_index()
    everything = np.ones(index.size, np.bool_)
    index.upsert(["new"], unit_vectors(5, 1, D))

    found = index.search(unit_vectors(5, 1, D), KNOWN + 1, everything)

    assert "new" not in index.ids(found.rows[0][found.rows[0] != NONE])


def test_nothing_eligible_gives_nothing() -> None:
    index = live_index()

    found = index.search(unit_vectors(5, 2, D), 3, np.zeros(index.size, np.bool_))

    assert (found.rows == NONE).all()


def test_the_trees_answer_unless_the_setting_says_exact() -> None:
    approximate, exact = live_index(search_k=1), live_index(exact=True)
    queries = unit_vectors(7, 30, D)

    differ = approximate.search(queries, 10).rows != exact.search(queries, 10).rows

    assert differ.any()


def test_a_vector_for_each_item_is_demanded() -> None:
    with pytest.raises(ValueError, match="2 items but 1 vectors"):
        live_index().upsert(["a", "b"], FRESH[:1])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_filtered_search_never_underfills_and_agrees_with_brute_force(data: st.DataObject) -> None:
    index = live_index(exact=data.draw(st.booleans()), search_k=data.draw(st.sampled_from([1, 60, 1000])))
    model = {f"known-{row}": BASE[row] for row in range(KNOWN)}
    for step in range(data.draw(st.integers(0, 12))):
        name = f"{data.draw(st.sampled_from(['known', 'new']))}-{data.draw(st.integers(0, 20))}"
        if data.draw(st.booleans()):
            index.upsert([name], FRESH[step : step + 1])
            model[name] = FRESH[step]
        else:
            index.delete([name])
            model.pop(name, None)
    kept = set(data.draw(st.lists(st.sampled_from(sorted(model)), unique=True, max_size=40)))
    eligible = np.zeros(index.size, np.bool_)
    eligible[index.slots(sorted(kept))] = True
    k, query = data.draw(st.integers(1, 30)), unit_vectors(data.draw(st.integers(0, 50)), 1, D)

    found = index.search(query, k, eligible)

    names = index.ids(found.rows[0][found.rows[0] != NONE])
    assert len(names) == len(set(names)) == min(k, len(kept))
    assert set(names) <= kept
    scores = [float(model[name] @ query[0]) for name in names]
    assert np.allclose(scores, found.scores[0][: len(names)], atol=1e-5)
    assert scores == sorted(scores, reverse=True)
    if index.exact:
        best = sorted((float(model[name] @ query[0]) for name in kept), reverse=True)[:k]
        assert np.allclose(scores, best, atol=1e-5)


def test_searches_beside_writes_see_only_whole_items() -> None:
    index, done = live_index(), threading.Event()
    wrong: list[str] = []

    def search() -> None:
        while not done.is_set():
            found = index.search(unit_vectors(5, 1, D), 300)
            rows, scores = found.rows[0], found.scores[0]
            for name, score in zip(index.ids(rows[rows != NONE]), scores, strict=False):
                if name.startswith("new") and not np.isclose(score, FRESH[int(name[4:])] @ unit_vectors(5, 1, D)[0]):
                    wrong.append(name)

    reader = threading.Thread(target=search)
    reader.start()
    for number in range(60):
        index.upsert([f"new-{number}"], FRESH[number : number + 1])
    done.set()
    reader.join()

    assert wrong == []
    assert len(index) == KNOWN + 60
