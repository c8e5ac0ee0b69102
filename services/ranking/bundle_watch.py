"""Takes published bundles into use without failing a request; the old one serves until the new one is warm."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Final

import numpy as np
import structlog

from services.ranking import telemetry
from services.ranking.scoring import Scorer, ScoringQueue, Watching
from shared.domain.bundles import TrainedBundle
from shared.domain.history import History
from shared.domain.ranking import Candidates, RankingRequest
from shared.kernel.readiness import Readiness
from shared.model.bundle import Bundle
from shared.model.bundle_telemetry import tell_bundle
from shared.model.bundle_watcher import BundleStatus
from shared.model.manifest import Manifest

WARM_UP_HISTORY: Final = 50
WARM_UP_CANDIDATES: Final = 200

log = structlog.get_logger()


class ScorerKeeper:
    """Installs loaded bundles.

    Args:
        queue: gets the new scorer.
        executor: warm-up runs in it, so that threads and caches are those of the requests.
        readiness: becomes ready with the first bundle.
    """

    def __init__(self, queue: ScoringQueue, executor: Executor, readiness: Readiness) -> None:
        self._queue, self._executor, self._readiness = queue, executor, readiness
        self.installed: TrainedBundle | None = None

    async def install(self, bundle: Bundle, scorer: Scorer) -> None:
        """Warm it up and swap the one reference."""
        loop = asyncio.get_running_loop()
        for request in warm_up_requests(bundle):
            await loop.run_in_executor(self._executor, scorer.score, [request])
        if isinstance(scorer, Watching):
            scorer.begin()
        self._queue.scorer = scorer
        telemetry.BUNDLES_INSTALLED.inc()
        self.installed = described(bundle.manifest)
        tell_bundle("ranking", bundle.manifest)
        self._readiness.set(True)


def described(manifest: Manifest) -> TrainedBundle:
    """What people are told of a bundle."""
    return TrainedBundle(
        version=manifest.version,
        created_ms=manifest.created_ms,
        trained_events=manifest.trained_events,
        trained_until_ms=manifest.trained_until_ms,
        metrics=manifest.metrics,
    )


def report(status: BundleStatus) -> None:
    """Tell operators what happened to the bundle."""
    if status.refused_reason:
        telemetry.BUNDLES_REFUSED.inc()
        log.error(
            "bundle.refused", version=status.refused_version, reason=status.refused_reason, serving=status.version
        )
    elif status.registry_error:
        log.warning("registry.unreadable", error=status.registry_error, serving=status.version)
    elif status.version:
        log.info("bundle.serving", version=status.version)


def warm_up_requests(bundle: Bundle) -> tuple[RankingRequest, ...]:
    """A new user and a known one: the two shapes of work that the first callers would else wait for."""
    ids = bundle.vocabulary.ids
    candidates = _bare_candidates(ids[:WARM_UP_CANDIDATES])
    known = ids[:WARM_UP_HISTORY]
    now = bundle.manifest.created_ms
    history = History(
        known,
        np.full(len(known), bundle.manifest.actions[0] if bundle.manifest.actions else 0, np.int32),
        np.full(len(known), np.nan, np.float32),
        np.full(len(known), now, np.int64),
    )
    return tuple(RankingRequest(each, candidates, now) for each in (History.empty(), history) if ids)


def _bare_candidates(item_ids: tuple[str, ...]) -> Candidates:
    floats, ranks = np.empty(0, np.float32), np.empty(0, np.int32)
    return Candidates(item_ids, floats, floats, floats, floats, ranks, floats, ranks)
