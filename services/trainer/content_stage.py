"""The content vectors of a data set: text and images through the frozen encoders, in bulk, before anything is learned.

The cache is the one that the feature service fills at upsert, so what was served is not encoded again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from services.trainer.datasets import Dataset
from services.trainer.progress import Progress
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
