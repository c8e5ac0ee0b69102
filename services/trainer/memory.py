"""Whether a training fits into the machine's memory, before it begins: better one sentence now than a killed process.

Counted is what grows with the catalogue and the preset; the events of a data set are in memory already.
"""

from __future__ import annotations

from pathlib import Path

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.presets import TrainingSettings

COPIES = 2 * 6
"""Of the weights: retriever and ranker, each with gradients, two moments, the running average and the best one."""

_FLOAT = 4
_MEMORY_FILE = Path("/proc/meminfo")


def check_memory(dataset: Dataset, settings: TrainingSettings, available: int | None = None) -> None:
    """Refuse a training that cannot fit.

    Args:
        dataset: to learn from.
        settings: of the training.
        available: bytes; None: what the system says it has.

    Raises:
        DatasetError: it needs more than there is; names the setting to change.
    """
    available = available_bytes() if available is None else available
    needed = needed_bytes(dataset, settings)
    if available is not None and needed > available:
        raise DatasetError(
            f"{len(dataset.items):,} items with preset {settings.preset!r} (width {settings.shape.width}) need about "
            f"{_gigabytes(needed)} of memory and {_gigabytes(available)} are free; choose a smaller --preset, or learn "
            "from fewer items with --min-item-events"
        )


def needed_bytes(dataset: Dataset, settings: TrainingSettings) -> int:
    """A lower bound."""
    width, blocks = settings.shape.width, settings.shape.blocks
    weights = (len(dataset.items) + settings.feature_limit) * width + 12 * blocks * width * width
    sizes = {vector.modality: len(vector.values) for item in dataset.item_details[:1000] for vector in item.vectors}
    return _FLOAT * (COPIES * weights + 2 * len(dataset.items) * sum(sizes.values()))


def available_bytes() -> int | None:
    """Memory that the system would give; None where it does not tell."""
    if not _MEMORY_FILE.is_file():
        return None
    lines = (line.split() for line in _MEMORY_FILE.read_text().splitlines())
    kilobytes = next((int(words[1]) for words in lines if words[0] == "MemAvailable:"), None)
    return None if kilobytes is None else 1024 * kilobytes


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB"
