"""Tuned layers of a text encoder: in a bundle, out of it, and in the services that read items and queries."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shared.kernel.config import ConfigError, load
from shared.model.bundle import ITEMS, BundleError, open_bundle, write_arrays, write_bundle, write_strings
from shared.model.content import ContentError
from shared.model.content_cache import VectorCache
from shared.model.content_huggingface import HuggingFaceEncoder
from shared.model.content_opening import open_content, open_text_encoder, open_tunable_text_encoder
from shared.model.content_settings import ContentSettings
from shared.model.content_tuned import LAYERS_FILE, TunedLayers, served_layers
from shared.model.registry import Registry
from tests.unit.model.bundles import ITEM_IDS, facts
from tests.unit.model.tiny_bert import tiny_bert

WORDS = ("red", "green", "lamp", "table")
TEXT = b"red lamp"


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceEncoder:
    return HuggingFaceEncoder(tiny_bert(tmp_path_factory.mktemp("frozen"), WORDS))


@pytest.fixture(scope="module")
def layers(frozen: HuggingFaceEncoder) -> TunedLayers:
    """The last block, shifted: it stands for what a training learned."""
    found = frozen.tuned_layers(1)
    return TunedLayers(found.base_id, {name: values + np.float32(0.1) for name, values in found.weights.items()})


def reading(folder: Path, encoder: HuggingFaceEncoder, **settings: object) -> ContentSettings:
    chosen = {"text_encoder": str(encoder.folder), "image_encoder": "none", **settings}
    return load(ContentSettings, data_dir=folder, **chosen)


def bundle_with(folder: Path, write: Callable[[Path], None]) -> Path:
    folder.mkdir()
    write_strings(folder / ITEMS, ITEM_IDS)
    write(folder)
    write_bundle(folder, facts())
    return folder


def published(folder: Path, layers: TunedLayers | None) -> Registry:
    registry = Registry(str(folder / "registry"))
    registry.publish(bundle_with(folder / "bundle", layers.save if layers else lambda folder: None))
    return registry


def test_services_read_texts_by_the_layers_of_the_served_bundle(
    tmp_path: Path, frozen: HuggingFaceEncoder, layers: TunedLayers
) -> None:
    published(tmp_path, layers)

    encoder = open_text_encoder(reading(tmp_path, frozen))
    (channel,) = open_content(reading(tmp_path, frozen)).channels

    assert encoder is not None
    assert encoder.encoder_id == channel.encoder.encoder_id == layers.encoder_id
    expected = frozen.with_layers(layers).encode([TEXT]).vectors
    np.testing.assert_array_equal(encoder.encode([TEXT]).vectors, expected)
    assert not np.allclose(frozen.encode([TEXT]).vectors, expected, atol=1e-3)


def test_vectors_are_cached_by_the_weights_that_made_them(
    tmp_path: Path, frozen: HuggingFaceEncoder, layers: TunedLayers
) -> None:
    cache = VectorCache(tmp_path / "content.db", 1 << 20)
    cache.put(frozen.encoder_id, [("hash", np.ones(4, np.float32))])

    assert cache.get(layers.encoder_id, ["hash"]) == {}
    assert layers.encoder_id.startswith(f"{frozen.encoder_id}+")
    other = TunedLayers(layers.base_id, {name: values * 2 for name, values in layers.weights.items()})
    assert other.encoder_id != layers.encoder_id


def test_a_bundle_without_layers_leaves_the_encoder_as_it_came(tmp_path: Path, frozen: HuggingFaceEncoder) -> None:
    registry = published(tmp_path, None)

    assert served_layers(registry, tmp_path / "cache") is None
    encoder = open_text_encoder(reading(tmp_path, frozen))
    assert encoder is not None
    assert encoder.encoder_id == frozen.encoder_id


def test_none_as_the_registry_leaves_the_encoder_as_it_came(
    tmp_path: Path, frozen: HuggingFaceEncoder, layers: TunedLayers
) -> None:
    published(tmp_path, layers)

    encoder = open_text_encoder(reading(tmp_path, frozen, tuned_registry_url="none"))

    assert encoder is not None
    assert encoder.encoder_id == frozen.encoder_id


def test_layers_of_another_encoder_are_refused_and_services_go_on_without(
    tmp_path: Path, frozen: HuggingFaceEncoder, layers: TunedLayers
) -> None:
    other = HuggingFaceEncoder(tiny_bert(tmp_path / "other", WORDS, seed=1))
    published(tmp_path, layers)

    encoder = open_text_encoder(reading(tmp_path, other))

    assert encoder is not None
    assert encoder.encoder_id == other.encoder_id
    with pytest.raises(ContentError, match="the tuned layers belong to"):
        other.with_layers(layers)


def test_layers_that_do_not_name_their_encoder_are_refused(tmp_path: Path) -> None:
    folder = bundle_with(
        tmp_path / "bundle", lambda folder: write_arrays(folder / LAYERS_FILE, {"1.weight": np.ones(2, np.float32)})
    )

    with pytest.raises(BundleError, match="does not name its encoder"):
        TunedLayers.load(open_bundle(folder))


def test_an_encoder_without_layers_cannot_be_tuned(tmp_path: Path) -> None:
    settings = load(ContentSettings, data_dir=tmp_path, text_encoder="multilingual")

    with pytest.raises(ConfigError, match=r"use-multilingual-3 has no layers.*winnow\[text\]"):
        open_tunable_text_encoder(settings)
    with pytest.raises(ConfigError, match="there is no text encoder"):
        open_tunable_text_encoder(load(ContentSettings, data_dir=tmp_path, text_encoder="none"))
