"""The content vectors of a data set: text and images through the encoders, in bulk, before anything else is learned.

The cache is the one that the feature service fills at upsert, so what was served is not encoded again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from services.trainer.datasets import Dataset
from services.trainer.presets import TrainingSettings
from services.trainer.progress import Progress
from services.trainer.text_tuning import TextTuning, Told, tuned_text
from services.trainer.training import divided
from shared.model.content import FrozenEncoder
from shared.model.content_opening import open_frozen_text_encoder, open_tunable_text_encoder
from shared.model.content_tuned import TunedLayers
from shared.model.content_vectors import ContentVectors, Refusal, with_vectors

STAGE = "content"


@dataclass(frozen=True, slots=True)
class ContentReport:
    """What items have by now.

    Attributes:
        items: with a vector, by modality and encoder.
        refusals: contents that could not be used; their items keep what else they have.
    """

    items: dict[tuple[str, str], int]
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class TextEncoder:
    """What reads the texts of a training.

    Attributes:
        encoder: None: nothing does.
        layers: its tuned ones, for the bundle; None: it is as it came.
        tuning: what came of tuning it in this training; None: it was not tuned here.
    """

    encoder: FrozenEncoder | None
    layers: TunedLayers | None = None
    tuning: TextTuning | None = None


def text_encoder(
    dataset: Dataset, settings: TrainingSettings, carried: TunedLayers | None, progress: Progress
) -> TextEncoder:
    """The text encoder as it came, with the layers of the bundle that the training goes on from, or tuned now.

    Args:
        dataset: cleaned.
        settings: of the training.
        carried: layers of the bundle to go on from: they stay as they are, for its models speak of their vectors.
        progress: is told.

    Raises:
        ConfigError: an encoder whose layers can be replaced is not installed.
        ContentError: the carried layers belong to another encoder.
        DatasetError: there is too little to tune on.
    """
    if carried is not None:
        return TextEncoder(open_tunable_text_encoder().with_layers(carried), carried)
    if not settings.text_tuning.layers:
        return TextEncoder(open_frozen_text_encoder())
    frozen = open_tunable_text_encoder()
    train = divided(dataset, settings)[0].train
    tuning = tuned_text(dataset, train, frozen, settings.text_tuning, Told(settings.seed, progress))
    encoder = frozen if tuning.layers is None else frozen.with_layers(tuning.layers)
    return TextEncoder(encoder, tuning.layers, tuning)


def with_content(dataset: Dataset, vectors: ContentVectors, progress: Progress) -> tuple[Dataset, ContentReport]:
    """The same data set with the items' content vectors; those that came with the data stay."""
    total = max(1, len(dataset.item_details))
    refusals: tuple[Refusal, ...] = ()
    details = dataset.item_details
    if vectors.channels:
        computed = vectors.of(details, lambda done: progress(STAGE, done / total, f"{done:,} of {total:,} items"))
        found = computed.vectors
        details = tuple(
            replace(item, vectors=with_vectors(item, found[item.item_id])) if item.item_id in found else item
            for item in details
        )
        refusals = tuple(computed.refusals)
    counts = Counter((vector.modality, vector.encoder_id) for item in details for vector in item.vectors)
    return replace(dataset, item_details=details), ContentReport(dict(counts), refusals)
