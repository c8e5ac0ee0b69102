"""Whether a training fits into the machine's memory, before it begins: better one sentence now than a killed process.

Counted is what grows with the catalogue and the preset; the events of a data set are in memory already.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.presets import TrainingSettings

COPIES = 2 * 6
"""Of the weights: retriever and ranker, each with gradients, two moments, the running average and the best one."""

_FLOAT = 4


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """Where a version of Linux's control groups tells a container's memory, and the counter of caches in it."""

    limit: str
    used: str
    counters: str
    cached: str


VERSIONS = (
    ControlGroup("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ControlGroup(
        "memory/memory.limit_in_bytes",  # without a limit it is more than any machine has
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Version 2, and version 1, which older nodes still have."""


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


def available_bytes(root: Path = Path("/")) -> int | None:
    """Memory that the machine would give, or the container where that gives less; None where neither tells.

    Args:
        root: of the system's files.
    """
    groups = root / "sys" / "fs" / "cgroup"
    told = (_of_machine(root / "proc" / "meminfo"), *(_of_container(groups, each) for each in VERSIONS))
    return min((free for free in told if free is not None), default=None)


def _of_machine(path: Path) -> int | None:
    kilobytes = _numbers(path).get("MemAvailable:")
    return None if kilobytes is None else 1024 * kilobytes


def _of_container(folder: Path, files: ControlGroup) -> int | None:
    """By Linux's control groups: a process beyond their limit is killed while the machine has plenty."""
    limit = folder / files.limit
    if not limit.is_file() or (most := limit.read_text().strip()) == "max":
        return None
    cached = _numbers(folder / files.counters).get(files.cached, 0)  # would be given up first
    return max(0, int(most) - int((folder / files.used).read_text()) + cached)


def _numbers(path: Path) -> dict[str, int]:
    """The lines `NAME NUMBER …` of a file; none where there is no file."""
    lines = (line.split() for line in path.read_text().splitlines()) if path.is_file() else ()
    return {words[0]: int(words[1]) for words in lines}


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB"
