"""A training that tunes the text encoder, and what the services and the next training make of its bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.trainer.app import text_layers, train
from services.trainer.content_stage import text_encoder, with_content
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from services.trainer.text_tuning import TextTuningSettings
from shared.domain.items import Item
from shared.model.bundle import open_bundle
from shared.model.content_opening import content_with, open_content, open_frozen_text_encoder
from shared.model.retriever import RetrieverModel
from tests.integration.trainer.test_training_worlds import place_in
from tests.unit.model.tiny_bert import tiny_bert
from tests.unit.trainer.text_worlds import WORDS, text_world

SETTINGS = replace(
    TrainingSettings(),
    preset="tiny",
    epochs=Epochs(sliced=1, continued=1, ranker=1, patience=1),
    text_tuning=TextTuningSettings(layers=1, pairs=1_000, epochs=2, learning_rate=1e-2),
    recall_target=0.0,  # items of a kind lie on one point here: any of them is as near as the others
    final_fit=False,
)
NEW = Item("new", title="noise1 kind2word0 noise3")


def test_services_read_new_items_as_the_bundle_with_tuned_layers_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("WINNOW_CONTENT_TEXT_ENCODER", str(tiny_bert(tmp_path / "bert", WORDS)))
    place, data = place_in(tmp_path), text_world().dataset
    monkeypatch.setenv("WINNOW_CONTENT_TUNED_REGISTRY_URL", place.registry.url)
    text = text_encoder(data, SETTINGS, None, silent)
    described, _ = with_content(data, content_with(text.encoder), silent)
    report = train(replace(described, tuned_text=text.layers), SETTINGS, place, silent)

    served = open_content().of([NEW]).vectors[NEW.item_id]

    assert report.publication.published
    bundle = open_bundle(place.registry.fetch(report.publication.version, tmp_path / "cache"))
    model = RetrieverModel.load(bundle)
    assert [encoder.encoder_id for encoder in model.encoding.encoders] == [served[0].encoder_id]
    table = model.encoding.table([replace(NEW, vectors=served)], model.vocabulary)
    assert table.vectors["text"].any()
    assert (
        text_layers(replace(SETTINGS, init_from=bundle.manifest.version), "", place).encoder_id
        == text.encoder.encoder_id
    )
    frozen = content_with(open_frozen_text_encoder()).of([NEW]).vectors[NEW.item_id]
    assert frozen[0].encoder_id != served[0].encoder_id
    assert not np.allclose(frozen[0].values, served[0].values, atol=1e-3)


def test_a_training_that_goes_on_keeps_the_layers_of_its_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("WINNOW_CONTENT_TEXT_ENCODER", str(tiny_bert(tmp_path / "bert", WORDS)))
    data = text_world().dataset
    carried = text_encoder(data, SETTINGS, None, silent).layers

    found = text_encoder(data, SETTINGS, carried, silent)

    assert found.tuning is None
    assert found.layers is carried
    assert found.encoder is not None
    assert carried is not None
    assert found.encoder.encoder_id == carried.encoder_id
