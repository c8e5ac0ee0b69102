"""The user tower in NumPy says what the network says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from services.candidate_generation.user_tower import UserTower
from shared.domain.history import History
from shared.domain.items import Item, User
from shared.domain.vocabulary import Vocabulary
from shared.model.encoding import ValueScale
from shared.model.item_tower import FeatureEncoding
from shared.model.retriever import RetrieverModel, RetrieverSettings, new_network

LIMIT = 12
ITEMS = [Item(f"i{number}", title=f"title {number % 3}", categories=("ab"[number % 2],)) for number in range(9)]

USERS = [User(f"u{number}", ("ab"[number % 2], "film"), {"plan": "free"}) for number in range(40)]


def _model(heads: int, blocks: int) -> RetrieverModel:
    """Random weights, also where training begins with zeros."""
    torch.manual_seed(heads * 10 + blocks)
    shape = {"width": 16, "heads": heads, "blocks": blocks, "history_limit": LIMIT}
    encoding, vocabulary = FeatureEncoding.fit(ITEMS, 100, USERS), Vocabulary(item.item_id for item in ITEMS)
    network = new_network(RetrieverSettings.model_validate(shape), encoding, len(ITEMS))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    ratings = np.array([1, 2, 3, 4, 5], np.float32)
    scale = ValueScale.fit(np.full(5, 10), ratings)
    return RetrieverModel(network, encoding, encoding.table(ITEMS, vocabulary), vocabulary, scale)


MODELS = {shape: _model(*shape) for shape in [(1, 1), (2, 2), (4, 3)]}

_events = st.tuples(
    st.sampled_from([*(item.item_id for item in ITEMS), "unknown"]),
    st.sampled_from([2, 3, 10, 77]),
    st.sampled_from([float("nan"), 1.0, 4.5]),
    st.integers(0, 10**9),
)


def _history(events: list[tuple[str, int, float, int]]) -> History:
    events = sorted(events, key=lambda event: event[3])
    ids, kinds, values, times = zip(*events, strict=True) if events else ((), (), (), ())
    return History(ids, np.array(kinds, np.int32), np.array(values, np.float32), np.array(times, np.int64))


@given(st.lists(_events, max_size=LIMIT + 3), st.sampled_from([None, *USERS[:2]]), st.sampled_from(sorted(MODELS)))
def test_every_history_gets_the_networks_vector(
    events: list[tuple[str, int, float, int]], user: User | None, shape: tuple[int, int]
) -> None:
    model, history = MODELS[shape], _history(events)

    vectors = UserTower(model).user_vectors([history], None, [user])

    np.testing.assert_allclose(vectors, model.user_vectors([history], None, [user]), atol=1e-5)
    assert vectors.dtype == np.float32


@pytest.mark.parametrize("shape", sorted(MODELS))
def test_other_interests_give_another_vector(shape: tuple[int, int]) -> None:
    tower, history = UserTower(MODELS[shape]), _history([])

    nobody, first, second = (tower.user_vectors([history], None, [user]) for user in (None, *USERS[:2]))

    assert not np.allclose(nobody, first, atol=1e-3)
    assert not np.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("shape", sorted(MODELS))
def test_it_is_found_to_agree_with_its_network(shape: tuple[int, int]) -> None:
    assert UserTower(MODELS[shape]).agrees()


def test_it_is_found_to_disagree_with_a_network_that_became_another() -> None:
    model = _model(2, 2)
    tower = UserTower(model)
    with torch.no_grad():
        model.network.out.bias.copy_(torch.ones(16) * 3)
    tower_of_old_weights = UserTower(_model(2, 2))
    tower_of_old_weights._model = model

    assert tower.agrees()
    assert not tower_of_old_weights.agrees()


def test_histories_of_newer_items_and_several_at_once_go_to_the_network() -> None:
    model = MODELS[2, 2]
    history, fresh = _history([("new", 3, 1.0, 5)]), {"new": Item("new", categories=("a",))}
    tower = UserTower(model)

    with_content, pair = tower.user_vectors([history], fresh), tower.user_vectors([history, history])

    np.testing.assert_array_equal(with_content, model.user_vectors([history], fresh))
    assert not np.allclose(with_content, tower.user_vectors([history]), atol=1e-3)
    assert pair.shape == (2, 16)


def test_item_vectors_are_the_networks() -> None:
    model = MODELS[1, 1]

    np.testing.assert_array_equal(UserTower(model).item_vectors(ITEMS), model.item_vectors(ITEMS))
