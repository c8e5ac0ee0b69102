"""Merges what the sources found into one list: the best of each source first, each item once, with who gave it.

C sources, M merged items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.candidate_generation.query import SourceAnswer
from shared.domain.retrieval import SourceHits


@dataclass(frozen=True, slots=True)
class Merged:
    """The merged candidates.

    Attributes:
        slots: (M,) each once; sorted by best rank in any source, equal ranks in the order of the sources.
        hits: what each source gave, as rows of `slots`.
    """

    slots: npt.NDArray[np.int64]
    hits: tuple[SourceHits, ...]


def merged(answers: Sequence[tuple[str, SourceAnswer]]) -> Merged:
    """Merge answers of named sources: round-robin by rank."""
    if not answers:
        return Merged(np.empty(0, np.int64), ())
    lengths = [len(answer.slots) for _, answer in answers]
    slots = np.concatenate([answer.slots for _, answer in answers])
    ranks = np.concatenate([np.arange(length) for length in lengths])
    order = np.argsort(ranks, kind="stable")  # equal ranks stay in the order of the sources
    distinct, first, places = np.unique(slots[order], return_index=True, return_inverse=True)
    row_of = np.empty(len(distinct), np.int32)
    row_of[np.argsort(first, kind="stable")] = np.arange(len(distinct), dtype=np.int32)
    rows = np.empty(len(slots), np.int32)
    rows[order] = row_of[places]
    merged_slots = np.empty(len(distinct), np.int64)
    merged_slots[row_of] = distinct
    by_source = np.split(rows, np.cumsum(lengths)[:-1])
    hits = (
        SourceHits(name, source_rows, answer.scores.astype(np.float32, copy=False))
        for (name, answer), source_rows in zip(answers, by_source, strict=True)
    )
    return Merged(merged_slots, tuple(hits))
