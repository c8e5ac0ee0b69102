"""Fine-tuning of the text encoder's last layers, on a world where untuned text does not tell and tuned text does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.trainer.datasets import DatasetError
from services.trainer.progress import silent
from services.trainer.splits import leave_one_out
from services.trainer.text_tuning import Pairs, TextTuning, TextTuningSettings, Told, texts_of, tuned_text
from shared.domain.events import EventType
from shared.model.content_huggingface import HuggingFaceEncoder
from tests.unit.model.tiny_bert import tiny_bert
from tests.unit.trainer.data_worlds import dataset_of, sequences_dataset
from tests.unit.trainer.text_worlds import WORDS, TextWorld, text_world

SETTINGS = TextTuningSettings(layers=1, pairs=1_000, epochs=4, learning_rate=1e-2)
TOLD = Told(0, silent)


@pytest.fixture(scope="module")
def world() -> TextWorld:
    return text_world()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceEncoder:
    return HuggingFaceEncoder(tiny_bert(tmp_path_factory.mktemp("encoder"), WORDS))


@pytest.fixture(scope="module")
def tuned(world: TextWorld, encoder: HuggingFaceEncoder) -> TextTuning:
    train = leave_one_out(world.dataset, "validation").train
    return tuned_text(world.dataset, train, encoder, SETTINGS, TOLD)


def neighbours_of_the_same_kind(world: TextWorld, encoder: HuggingFaceEncoder) -> float:
    """Of the ten items nearest to a new one by text, the share that is of its kind."""
    contents = [text.encode() for text in texts_of(world.dataset.item_details)]
    vectors = encoder.encode(contents).vectors
    near = vectors[world.unseen] @ vectors.T
    near[np.arange(len(near)), world.unseen] = -np.inf
    nearest = np.argsort(-near, axis=1)[:, :10]
    return float((world.kinds[nearest] == world.kinds[world.unseen][:, None]).mean())


def test_tuned_layers_tell_of_new_items_what_untuned_ones_do_not(
    world: TextWorld, encoder: HuggingFaceEncoder, tuned: TextTuning
) -> None:
    assert tuned.layers is not None

    untold = neighbours_of_the_same_kind(world, encoder)
    told = neighbours_of_the_same_kind(world, encoder.with_layers(tuned.layers))

    assert untold < 0.6  # by chance .25; equal words lie near by themselves
    assert told > 0.9
    assert tuned.after > tuned.before


def test_only_the_last_layers_are_tuned_and_the_frozen_encoder_stays_as_it_was(
    world: TextWorld, encoder: HuggingFaceEncoder, tuned: TextTuning
) -> None:
    assert tuned.layers is not None

    assert {name.partition(".")[0] for name in tuned.layers.weights} == {"1"}
    before = HuggingFaceEncoder(encoder.folder).encode([b"noise1 kind0word0"]).vectors
    np.testing.assert_array_equal(encoder.encode([b"noise1 kind0word0"]).vectors, before)


def test_the_same_seed_tunes_the_same_layers(world: TextWorld, encoder: HuggingFaceEncoder) -> None:
    train, brief = leave_one_out(world.dataset, "validation").train, replace(SETTINGS, pairs=64, epochs=1)

    first, second = (tuned_text(world.dataset, train, encoder, brief, TOLD) for _ in range(2))

    assert first == second or (first.layers and second.layers and first.layers.encoder_id == second.layers.encoder_id)


def test_layers_that_are_no_better_are_not_kept(world: TextWorld, encoder: HuggingFaceEncoder) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"u{user}", f"i{item}", float(place)) for user in range(60)
            for place, item in enumerate(rng.choice(160, 6, replace=False))]  # fmt: skip
    by_chance = dataset_of(rows, world.dataset.item_details)

    found = tuned_text(by_chance, by_chance.interactions, encoder, replace(SETTINGS, learning_rate=0.0), TOLD)

    assert found.layers is None
    assert found.after == found.before


def test_pairs_are_of_one_user_and_of_items_with_a_text() -> None:
    data = sequences_dataset({"ann": "abca", "bob": "d"})
    has_text = np.array([name != "b" for name in data.items.ids])

    pairs = Pairs.of(data.interactions, has_text, reach=1)

    named = [
        (data.items.ids[first], data.items.ids[second])
        for first, second in zip(pairs.firsts, pairs.seconds, strict=True)
    ]
    assert named == [("a", "c"), ("c", "a")]


def test_what_was_only_shown_or_hidden_makes_no_pair() -> None:
    data = sequences_dataset({"ann": "abc"})
    events = replace(
        data.interactions, event_types=np.array([EventType.VIEW, EventType.HIDE, EventType.IMPRESSION], np.int8)
    )

    assert len(Pairs.of(events, np.ones(3, np.bool_), reach=3)) == 0


def test_too_little_to_tune_on_is_refused_with_the_remedy(encoder: HuggingFaceEncoder) -> None:
    data = sequences_dataset({"ann": "abc", "bob": "bcd"})

    with pytest.raises(DatasetError, match=r"0 pairs of items with a text.*Leave out --tune-text-layers"):
        tuned_text(data, data.interactions, encoder, SETTINGS, TOLD)


def test_more_layers_than_there_are_are_refused(world: TextWorld, encoder: HuggingFaceEncoder) -> None:
    with pytest.raises(DatasetError, match="has 2 layers; 3 cannot be tuned"):
        tuned_text(world.dataset, world.dataset.interactions, encoder, replace(SETTINGS, layers=3), TOLD)


def test_settings_reach_the_training(tmp_path: Path) -> None:
    from services.trainer.settings import TrainerSettings  # noqa: PLC0415
    from shared.kernel.config import load  # noqa: PLC0415

    settings = load(TrainerSettings, data_dir=tmp_path, tuned_text_layers=2, tuned_text_pairs=70)

    assert (settings.training().text_tuning.layers, settings.training().text_tuning.pairs) == (2, 70)
