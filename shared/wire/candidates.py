"""Candidate columns and source hits on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from winnow.v1 import candidate_pb2

from shared.domain.ranking import Candidates
from shared.domain.retrieval import SourceHits
from shared.wire.items import item_from_proto, item_to_proto


def candidates_to_proto(candidates: Candidates) -> candidate_pb2.CandidateColumns:
    """The columns, the content of new items included."""
    return candidate_pb2.CandidateColumns(
        item_ids=candidates.item_ids,
        ages_days=candidates.ages_days.tolist(),
        popularity=candidates.popularity.tolist(),
        trend=candidates.trend.tolist(),
        retrieval_scores=candidates.retrieval_scores.tolist(),
        retrieval_ranks=candidates.retrieval_ranks.tolist(),
        neighbour_scores=candidates.neighbour_scores.tolist(),
        neighbour_ranks=candidates.neighbour_ranks.tolist(),
        new_items=[item_to_proto(item) for item in candidates.new_items.values()],
        creator_ids=candidates.creator_ids,
        primary_categories=candidates.primary_categories,
    )


def candidates_from_proto(message: candidate_pb2.CandidateColumns) -> Candidates:
    """The columns.

    Raises:
        ValueError: a column is neither empty nor as long as the ids; the message names it.
    """
    return Candidates(
        item_ids=tuple(message.item_ids),
        ages_days=np.array(_whole(message, "ages_days"), np.float32),
        popularity=np.array(_whole(message, "popularity"), np.float32),
        trend=np.array(_whole(message, "trend"), np.float32),
        retrieval_scores=np.array(_whole(message, "retrieval_scores"), np.float32),
        retrieval_ranks=np.array(_whole(message, "retrieval_ranks"), np.int32),
        neighbour_scores=np.array(_whole(message, "neighbour_scores"), np.float32),
        neighbour_ranks=np.array(_whole(message, "neighbour_ranks"), np.int32),
        new_items={item.item_id: item_from_proto(item) for item in message.new_items},
        creator_ids=tuple(_whole(message, "creator_ids")),
        primary_categories=tuple(_whole(message, "primary_categories")),
    )


def _whole(message: candidate_pb2.CandidateColumns, name: str) -> Sequence[Any]:
    column: Sequence[Any] = getattr(message, name)
    count = len(message.item_ids)
    if len(column) not in {0, count}:
        raise ValueError(f"candidates.{name} has {len(column)} values for {count} item_ids: send one each or none")
    return column


def source_hits_to_proto(hits: SourceHits) -> candidate_pb2.SourceHits:
    """What one source gave."""
    return candidate_pb2.SourceHits(source=hits.source, rows=hits.rows.tolist(), scores=hits.scores.tolist())


def source_hits_from_proto(message: candidate_pb2.SourceHits) -> SourceHits:
    """What one source gave."""
    return SourceHits(message.source, np.array(message.rows, np.int32), np.array(message.scores, np.float32))
