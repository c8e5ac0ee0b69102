"""Stand-ins for the ranker's unit tests: a scorer that can be held back, and Ray Serve's gRPC context."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np

from shared.domain.history import History
from shared.domain.ranking import Candidates, RankingRequest, RankingResult


def request_of(*item_ids: str, budget_ms: int = 60_000) -> RankingRequest:
    """A cold user's request for these items."""
    floats, ranks = np.empty(0, np.float32), np.empty(0, np.int32)
    candidates = Candidates(item_ids, floats, floats, floats, floats, ranks, floats, ranks)
    return RankingRequest(History.empty(), candidates, time_ms=1, budget_ms=budget_ms)


@dataclass
class FakeScorer:
    """Gives each candidate the length of its id; waits while it is held back, and remembers its batches.

    Attributes:
        error: raised instead of scoring, when set.
        bad: probability given to all instead, when set.
    """

    version: str = "one"
    error: Exception | None = None
    bad: float | None = None
    batches: list[list[tuple[str, ...]]] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.released.set()

    def score(self, requests: Sequence[RankingRequest]) -> list[RankingResult]:
        self.entered.set()
        self.released.wait()
        self.batches.append([request.candidates.item_ids for request in requests])
        if self.error:
            raise self.error
        return [self._score(request) for request in requests]

    def _score(self, request: RankingRequest) -> RankingResult:
        column = [len(item_id) / 10 if self.bad is None else self.bad for item_id in request.candidates.item_ids]
        probabilities = np.array(column, np.float32).reshape(-1, 1)
        return RankingResult((3,), probabilities, np.empty(0, np.float32), None, self.version)


@dataclass
class FakeContext:
    """What Ray Serve's gRPC context keeps of an answer."""

    metadata: dict[str, str] = field(default_factory=dict)
    code: grpc.StatusCode | None = None
    details: str = ""
    trailing: dict[str, Any] = field(default_factory=dict)

    def invocation_metadata(self) -> list[tuple[str, str | bytes]]:
        return list(self.metadata.items())

    def peer(self) -> str:
        return "ipv4:192.0.2.1:1"

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, metadata: list[tuple[str, Any]]) -> None:
        self.trailing = dict(metadata)
