"""One page about the running system: every service is asked, and one that does not answer is listed as such."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from enum import IntEnum
from importlib import metadata

import numpy as np

from services.recommendation.dependencies import Dependencies
from services.recommendation.quality import QualityFactor
from services.recommendation.recording import SlateRecorder
from services.recommendation.stages import Lost
from services.recommendation.surfaces import Surfaces
from services.recommendation.traffic import Tally, Traffic
from shared.domain.bundles import TrainedBundle
from shared.domain.history import History
from shared.domain.ranking import Candidates, RankingRequest, RankingResult
from shared.domain.retrieval import RetrievalRequest, RetrievalResult
from shared.domain.user_state import ProjectionStatus
from shared.kernel.clock import Clock

PROBE_BUDGET_MS = 500.0
PROBE_ID = "status-probe"
NOT_SERVING_REASONS = frozenset({"no-bundle", "not-ready", "not-installed", "overloaded"})


class ServiceState(IntEnum):
    """How a service stands. Codes equal `winnow.v1.ServiceState`."""

    SERVING = 1
    NOT_SERVING = 2
    UNREACHABLE = 3


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """One service; `detail` says why it is not serving, or what it serves."""

    name: str
    state: ServiceState
    detail: str


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """Everything that the page shows."""

    release: str
    services: tuple[ServiceStatus, ...]
    projection: ProjectionStatus | None
    model_version: str
    index_version: str
    config_version: str
    started_ms: int
    tally: Tally
    lost_slates: int
    traffic: Traffic
    quality_factor: float
    bundle: TrainedBundle | None


@dataclass(frozen=True, slots=True)
class StatusPage:
    """Asks everybody."""

    ports: Dependencies
    recorder: SlateRecorder
    surfaces: Surfaces
    clock: Clock
    quality: QualityFactor
    tally: Tally

    async def read(self) -> SystemStatus:
        """The page as things stand."""
        projection, found, ranked, log = await asyncio.gather(
            _outcome(self.ports.features.ask(lambda port: port.status(), PROBE_BUDGET_MS)),
            _outcome(self._retrieve()),
            _outcome(self._rank()),
            _outcome(self.ports.feedback.ask(lambda port: port.slate(PROBE_ID), PROBE_BUDGET_MS)),
        )
        index = found.provenance.index_version if isinstance(found, RetrievalResult) else ""
        model = ranked.model_version if isinstance(ranked, RankingResult) else ""
        services = (
            ServiceStatus("recommendation", ServiceState.SERVING, _configuration(self.surfaces)),
            _status("candidate_generation", found, f"index {index}" if index else "no index: popular items only"),
            _feature_status(projection),
            _status("ranking", ranked, f"bundle {model}"),
            _status("feedback", log, f"{self.recorder.waiting} slates are on their way to it"),
        )
        return SystemStatus(
            release=release(),
            services=services,
            projection=projection if isinstance(projection, ProjectionStatus) else None,
            model_version=model,
            index_version=index,
            config_version=self.surfaces.version,
            started_ms=self.tally.started_ms,
            tally=self.tally,
            lost_slates=self.recorder.lost,
            traffic=self.tally.traffic(self.clock()),
            quality_factor=self.quality.share,
            bundle=ranked.bundle if isinstance(ranked, RankingResult) else None,
        )

    async def _retrieve(self) -> RetrievalResult:
        request = RetrievalRequest(History.empty(), self.clock(), quotas={"popular": 1, "retriever": 1})
        return await self.ports.candidates.ask(
            lambda port: port.retrieve(request, budget_ms=PROBE_BUDGET_MS), PROBE_BUDGET_MS
        )

    async def _rank(self) -> RankingResult:
        floats, ranks = np.empty(0, np.float32), np.empty(0, np.int32)
        one = Candidates((PROBE_ID,), floats, floats, floats, floats, ranks, floats, ranks)
        request = RankingRequest(History.empty(), one, self.clock(), budget_ms=int(PROBE_BUDGET_MS))
        request = replace(request, describe_bundle=True)
        return await self.ports.ranking.ask(lambda port: port.rank(request), PROBE_BUDGET_MS)


def release() -> str:
    """The installed release; a source tree that is not installed says so."""
    try:
        return metadata.version("winnow")
    except metadata.PackageNotFoundError:
        return "source"


def _configuration(surfaces: Surfaces) -> str:
    at_work = f"configuration {surfaces.version}"
    return f"{at_work}; what the files say now is refused: {surfaces.refused}" if surfaces.refused else at_work


async def _outcome(asked: Awaitable[object]) -> object:
    try:
        return await asked
    except Lost as lost:
        return lost


def _status(name: str, outcome: object, serving: str) -> ServiceStatus:
    if not isinstance(outcome, Lost):
        return ServiceStatus(name, ServiceState.SERVING, serving)
    state = ServiceState.NOT_SERVING if outcome.reason in NOT_SERVING_REASONS else ServiceState.UNREACHABLE
    return ServiceStatus(name, state, outcome.detail)


def _feature_status(projection: object) -> ServiceStatus:
    if not isinstance(projection, ProjectionStatus):
        return _status("feature", projection, "")
    detail = f"{projection.users:,} users, {projection.items:,} items"
    if not projection.caught_up:
        replay = (str(projection.replay),) if projection.replay else ()
        reasons = "; ".join((*replay, *projection.problems)) or "waiting for the log"
        return ServiceStatus("feature", ServiceState.NOT_SERVING, f"{reasons}; {detail} so far")
    return ServiceStatus("feature", ServiceState.SERVING, detail)
