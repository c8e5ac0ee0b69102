"""The questions that rankers are compared by: made-up users and candidates of a published bundle's items."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from winnow.v1.ranking_service_pb2 import RankRequest

from shared.domain.history import History
from shared.domain.ranking import Candidates, RankingRequest
from shared.model.bundle import Bundle, open_bundle
from shared.model.registry import Registry, RegistryError
from shared.wire.ranking import ranking_request_to_proto

EVENTS, CANDIDATES = 100, 300
BUDGET_MS = 60_000
DAY_MS = 86_400_000


def current_bundle(registry_url: str, folder: Path) -> Bundle:
    """A local copy of the bundle that a registry serves.

    Raises:
        RegistryError: it serves none.
    """
    registry = Registry(registry_url)
    version = registry.current()
    if version is None:
        raise RegistryError(f"{registry_url} holds no bundle; train one with `make run` or `winnow train`")
    return open_bundle(registry.fetch(version, folder))


def made_up_requests(bundle: Bundle, count: int, seed: int = 0) -> list[RankingRequest]:
    """Requests with histories of 100 events and 300 candidates, each with every column."""
    rng = np.random.default_rng(seed)
    return [_made_up(bundle, rng) for _ in range(count)]


def messages_of(requests: Sequence[RankingRequest]) -> list[RankRequest]:
    """The same on the wire."""
    return [ranking_request_to_proto(request) for request in requests]


def _made_up(bundle: Bundle, rng: np.random.Generator) -> RankingRequest:
    ids, now = bundle.vocabulary.ids, bundle.manifest.created_ms
    candidates = min(CANDIDATES, len(ids))
    past = rng.integers(0, len(ids), EVENTS)
    asked = rng.choice(len(ids), candidates, replace=False)

    def column(high: float) -> np.ndarray:
        return rng.uniform(0, high, candidates).astype(np.float32)

    history = History(
        tuple(ids[row] for row in past),
        np.full(EVENTS, bundle.manifest.actions[0], np.int32),
        np.full(EVENTS, np.nan, np.float32),
        np.sort(now - rng.integers(0, 90 * DAY_MS, EVENTS)),
    )
    ranks = np.arange(1, candidates + 1, dtype=np.int32)
    columns = Candidates(
        item_ids=tuple(ids[row] for row in asked),
        ages_days=column(1000),
        popularity=column(100),
        trend=column(10),
        retrieval_scores=np.sort(column(1))[::-1].copy(),
        retrieval_ranks=ranks,
        neighbour_scores=column(1),
        neighbour_ranks=rng.permutation(ranks),
    )
    return RankingRequest(history, columns, now, budget_ms=BUDGET_MS)
