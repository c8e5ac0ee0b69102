"""What a new retriever takes over from another bundle's: what means the same in both, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from services.trainer.datasets import DatasetError
from services.trainer.presets import PRESETS
from services.trainer.warm_start import TakenOver, WarmStart
from shared.domain.items import ContentVector, Item, User
from shared.domain.vocabulary import Vocabulary
from shared.model.encoding import ValueScale
from shared.model.item_tower import FeatureEncoding
from shared.model.retriever import RetrieverModel, RetrieverNetwork, new_network

NO_VALUES = ValueScale.fit(np.empty(0, np.int64), np.empty(0, np.float32))


def item(item_id: str, *categories: str, encoder_id: str = "minilm") -> Item:
    return Item(
        item_id, categories=categories, vectors=(ContentVector("text", encoder_id, item_id, np.ones(4, np.float32)),)
    )


def fans(*interests: str) -> list[User]:
    return [User(f"{interest}-{number}", (interest,)) for interest in interests for number in range(20)]


def retriever(items: Sequence[Item], seed: int, preset: str = "tiny", users: Sequence[User] = ()) -> RetrieverModel:
    torch.manual_seed(seed)
    encoding, names = FeatureEncoding.fit(items, 100, users), Vocabulary(each.item_id for each in items)
    network = new_network(PRESETS[preset], encoding, len(items))
    if users:  # an untrained one has zeros
        torch.nn.init.normal_(network.profile.features.weight)
    return RetrieverModel(network, encoding, encoding.table(items, names), names, NO_VALUES)


def begun(items: Sequence[Item], source: RetrieverModel, preset: str = "tiny") -> tuple[RetrieverNetwork, TakenOver]:
    new = retriever(items, 1, preset)
    taken = WarmStart(source, "v1").put_into(new.network, new.encoding, new.table, new.vocabulary)
    return new.network, taken


OLD = [item("1", "horror", "old"), item("2", "horror", "old"), item("3", "comedy"), item("4", "comedy")]


def test_the_same_data_begin_as_the_whole_retriever() -> None:
    source = retriever(OLD, 0)

    network, taken = begun(OLD, source)

    assert (taken.ids, taken.features) == (4, 3)
    for name, tensor in source.network.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], tensor)


def test_features_are_found_by_name_wherever_they_stand() -> None:
    source = retriever(OLD, 0)
    new = [item("x", "western", "comedy"), item("y", "western", "comedy")]

    network, taken = begun(new, source)

    row = FeatureEncoding.fit(new, 100).featurizer.names.row("category:comedy")
    theirs = source.encoding.featurizer.names.row("category:comedy")
    assert taken.features == 1
    torch.testing.assert_close(network.tower.features.weight[row], source.network.tower.features.weight[theirs])


def test_features_of_users_are_found_by_name_too() -> None:
    source, new = retriever(OLD, 0, users=fans("jazz", "opera")), retriever(OLD, 1, users=fans("opera", "polka"))
    WarmStart(source, "v1").put_into(new.network, new.encoding, new.table, new.vocabulary)
    mine, theirs = new.network.profile.features.weight, source.network.profile.features.weight

    torch.testing.assert_close(mine[0], theirs[1])
    assert not torch.allclose(mine[1], theirs[0])


def test_an_id_that_names_something_else_is_not_taken_over() -> None:
    source = retriever(OLD, 0)
    new = [item("1", "shampoo"), item("2", "shampoo"), item("3", "comedy"), item("9", "comedy")]

    network, taken = begun(new, source)

    theirs = source.network.tower.ids.weight
    assert taken.ids == 1
    torch.testing.assert_close(network.tower.ids.weight[2], theirs[2])
    assert not torch.allclose(network.tower.ids.weight[0], theirs[0])


def test_ids_without_any_content_are_not_taken_for_the_same() -> None:
    _, taken = begun([Item("1"), Item("2")], retriever([Item("1"), Item("2")], 0))

    assert taken.ids == 0


def test_the_projection_of_the_same_encoder_is_taken_over_and_that_of_another_is_not() -> None:
    source = retriever(OLD, 0)
    other = [item("x", "a", encoder_id="use"), item("y", "a", encoder_id="use")]

    same, taken = begun([item("x", "a"), item("y", "a")], source)
    _, nothing = begun(other, source)

    assert taken.encoders == ("text by minilm",)
    assert nothing.encoders == ()
    torch.testing.assert_close(same.tower.content["text"].weight, source.network.tower.content["text"].weight)


def test_another_shape_is_refused_with_the_remedy() -> None:
    with pytest.raises(DatasetError, match=r"bundle v1 has a network of another shape.*preset"):
        begun(OLD, retriever(OLD, 0), "small")
