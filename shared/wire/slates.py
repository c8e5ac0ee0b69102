"""Served slates on the wire and in the log.

A slate is large (30 KB for 300 candidates), and most who follow the log want to know of it whom it showed what. So one
that comes out of the log reads its other columns only when the first of them is asked for.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
from winnow.v1 import slate_pb2

from shared.domain.slates import Evidence, Labels, ServedSlate
from shared.wire.candidates import (
    candidates_from_proto,
    candidates_to_proto,
    source_hits_from_proto,
    source_hits_to_proto,
)
from shared.wire.events import history_from_proto, history_to_proto
from shared.wire.items import user_from_proto, user_to_proto
from shared.wire.provenance import provenance_from_proto, provenance_to_proto
from shared.wire.ranking import context_from_proto, context_to_proto
from shared.wire.times import time_from_proto, time_to_proto


def slate_to_proto(slate: ServedSlate) -> slate_pb2.ServedSlate:
    """One slate with its inputs."""
    if (unread := unread_bytes(slate)) is not None:
        return slate_pb2.ServedSlate.FromString(unread)
    return slate_pb2.ServedSlate(
        recommendation_id=slate.recommendation_id,
        user_id=slate.user_id,
        session_id=slate.session_id,
        surface=slate.surface,
        served_time=time_to_proto(slate.served_ms),
        header=provenance_to_proto(slate.provenance),
        seed=slate.seed,
        history=history_to_proto(slate.history),
        user=None if slate.user is None else user_to_proto(slate.user),
        context=context_to_proto(slate.context),
        candidates=candidates_to_proto(slate.candidates),
        sources=[source_hits_to_proto(hits) for hits in slate.sources],
        actions=slate.actions,
        action_weights=slate.action_weights,
        probabilities=slate.probabilities.ravel().tolist(),
        values=slate.values.tolist(),
        shown_rows=slate.shown_rows.tolist(),
        propensities=slate.propensities.tolist(),
        reserve_rows=slate.reserve_rows.tolist(),
        first_position=slate.first_position,
        labels=_labels_to_proto(slate.labels) if slate.labels.names else None,
        evidence=_evidence_to_proto(slate.evidence) if len(slate.evidence) else None,
        arm=slate.arm,
    )


def slate_from_proto(message: slate_pb2.ServedSlate) -> ServedSlate:
    """One slate with its inputs.

    Raises:
        ValueError: columns do not fit together.
    """
    actions = tuple(message.actions)
    rows = len(message.candidates.item_ids) if actions else 0
    return ServedSlate(
        recommendation_id=message.recommendation_id,
        user_id=message.user_id,
        session_id=message.session_id,
        surface=message.surface,
        served_ms=time_from_proto(message.served_time),
        provenance=provenance_from_proto(message.header),
        seed=message.seed,
        history=history_from_proto(message.history),
        user=user_from_proto(message.user) if message.HasField("user") else None,
        context=context_from_proto(message.context),
        candidates=candidates_from_proto(message.candidates),
        sources=tuple(source_hits_from_proto(hits) for hits in message.sources),
        actions=actions,
        action_weights=tuple(message.action_weights),
        probabilities=np.array(message.probabilities, np.float32).reshape(rows, len(actions)),
        values=np.array(message.values, np.float64),
        shown_rows=np.array(message.shown_rows, np.int32),
        propensities=np.array(message.propensities, np.float32),
        reserve_rows=np.array(message.reserve_rows, np.int32),
        first_position=message.first_position,
        labels=_labels_from_proto(message.labels) if message.HasField("labels") else Labels(),
        evidence=_evidence_from_proto(message.evidence) if message.HasField("evidence") else Evidence(),
        arm=message.arm,
    )


def unread_slate(message: slate_pb2.ServedSlate, stored: bytes) -> ServedSlate:
    """One slate of the log, whose columns fitted together when it was taken.

    Args:
        message: the slate; it is not kept.
        stored: the same as bytes, which take half the room and keep no larger message alive.

    Raises:
        ValueError: at the first look at what is read late, when columns do not fit together.
    """
    slate = object.__new__(_UnreadSlate)
    put = object.__setattr__
    put(slate, "unread", stored)
    put(slate, "shown", tuple([message.candidates.item_ids[row] for row in message.shown_rows]))
    put(slate, "recommendation_id", message.recommendation_id)
    put(slate, "user_id", message.user_id)
    put(slate, "session_id", message.session_id)
    put(slate, "surface", message.surface)
    put(slate, "served_ms", time_from_proto(message.served_time))
    put(slate, "actions", tuple(message.actions))
    put(slate, "action_weights", tuple(message.action_weights))
    put(slate, "shown_rows", np.array(message.shown_rows, np.int32))
    put(slate, "first_position", message.first_position)
    put(slate, "arm", message.arm)
    return slate


def unread_bytes(slate: ServedSlate) -> bytes | None:
    """A slate of the log as it is stored; None for one that was made or looked at here."""
    return slate.unread if isinstance(slate, _UnreadSlate) else None


class _UnreadSlate(ServedSlate):
    """A slate with empty places, which are filled when one of them is looked at.

    Attributes:
        unread: what it is read from; None once that is done.
        shown: the items in shown order; None in a copy, which has every column.
    """

    __slots__ = ("shown", "unread")

    unread: bytes | None
    shown: tuple[str, ...] | None

    @property
    def shown_item_ids(self) -> tuple[str, ...]:
        """The items in shown order."""
        return super().shown_item_ids if self.shown is None else self.shown

    def __getattr__(self, name: str) -> Any:
        if name in _UnreadSlate.__slots__:  # of a copy
            return None
        unread = self.unread
        if unread is None or name not in _COLUMNS:
            return object.__getattribute__(self, name)  # another thread has just read it, or there is no such thing
        whole = slate_from_proto(slate_pb2.ServedSlate.FromString(unread))
        for column in _COLUMNS:
            object.__setattr__(self, column, getattr(whole, column))
        object.__setattr__(self, "unread", None)
        return getattr(whole, name)


_COLUMNS = frozenset(field.name for field in fields(ServedSlate))


def _labels_to_proto(labels: Labels) -> slate_pb2.LabelColumns:
    return slate_pb2.LabelColumns(
        names=labels.names,
        counts=[len(rows) for rows in labels.rows],
        rows=np.concatenate(labels.rows).tolist(),
    )


def _labels_from_proto(message: slate_pb2.LabelColumns) -> Labels:
    counts, rows = np.array(message.counts, np.int64), np.array(message.rows, np.int32)
    if len(counts) != len(message.names) or counts.sum() != len(rows):
        raise ValueError(f"labels: {len(message.names)} names with {len(counts)} counts for {len(rows)} rows")
    return Labels(tuple(message.names), tuple(np.split(rows, np.cumsum(counts)[:-1])) if len(counts) else ())


def _evidence_to_proto(evidence: Evidence) -> slate_pb2.ExplorationEvidence:
    return slate_pb2.ExplorationEvidence(
        rows=evidence.rows.tolist(), exposures=evidence.exposures.tolist(), successes=evidence.successes.tolist()
    )


def _evidence_from_proto(message: slate_pb2.ExplorationEvidence) -> Evidence:
    if not len(message.rows) == len(message.exposures) == len(message.successes):
        raise ValueError(f"evidence: {len(message.rows)} rows with {len(message.exposures)} exposures")
    return Evidence(
        np.array(message.rows, np.int32),
        np.array(message.exposures, np.float32),
        np.array(message.successes, np.float32),
    )
