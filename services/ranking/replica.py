"""What one replica of the ranker consists of: the composition root of a replica's process."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TextIO, cast

from google.protobuf.message import Message

from services.ranking.bundle_watch import ScorerKeeper, report
from services.ranking.ingress import CHECK, RANK, Context, Ingress, Method
from services.ranking.log_pipe import LogPipe
from services.ranking.ray_plan import ReplicaConfig
from services.ranking.scoring import QueueLimits, Scorer, ScoringQueue
from services.ranking.servicer import RankingServicer
from services.ranking.settings import RankingSettings
from shared.kernel.background import Supervised
from shared.kernel.clock import Clock, system_clock
from shared.kernel.logs import configure_logs
from shared.kernel.readiness import Readiness
from shared.kernel.slowness import set_slow_ms
from shared.kernel.telemetry import serve_metrics
from shared.kernel.tracing import configure_tracing
from shared.kernel.validation import warm
from shared.model.bundle import Bundle
from shared.model.bundle_watcher import BundleSource, BundleWatcher
from shared.model.registry import Registry


@dataclass(frozen=True, slots=True)
class Replica:
    """A running replica: its methods behind the ingress."""

    ingress: Ingress
    behaviours: Mapping[Method, Callable[[bytes], Awaitable[Message]]]

    async def answer(self, method: Method, request: bytes, context: Context) -> Message:
        """Answer one call."""
        return await self.ingress.answer(method, request, context, self.behaviours[method])


@asynccontextmanager
async def open_replica(config: ReplicaConfig, rank: int, clock: Clock = system_clock) -> AsyncIterator[Replica]:
    """Run what one replica consists of.

    Args:
        config: what it is given.
        rank: its number among the replicas of this machine, from 0.
        clock: Unix milliseconds.
    """
    settings = config.settings
    readiness = Readiness()
    with _process(config, rank), ThreadPoolExecutor(1, "forward") as executor:
        queue = ScoringQueue(executor, QueueLimits(settings.queue_limit_requests, settings.batch_limit_candidates))
        keeper = ScorerKeeper(queue, executor, readiness)
        servicer = RankingServicer(queue, readiness, clock, lambda: keeper.installed)
        watcher = _bundle_watcher(config, rank, keeper, clock)
        warm([RANK.service])
        await (
            watcher.check()
        )  # the first look before the first request: a restarted replica is ready when it is reachable
        async with Supervised() as tasks:
            tasks.start("scoring", queue.run)
            tasks.start("bundles", watcher.run)
            behaviours = {RANK: servicer.rank, CHECK: servicer.check}
            yield Replica(Ingress(config.token, settings.request_limit_bytes), behaviours)


def _process(config: ReplicaConfig, rank: int) -> ExitStack:
    """Logs, traces and metrics of a replica's process."""
    process = config.process
    with ExitStack() as stack:
        lines: TextIO = sys.__stderr__ or sys.stderr
        if config.log_pipe:
            pipe = LogPipe(config.log_pipe, terminal=config.log_terminal)
            lines = cast("TextIO", stack.enter_context(pipe))
        key = process.log_pseudonym_key.get_secret_value() if process.log_pseudonym_key else ""
        configure_logs(process.log_level, lines, key)
        set_slow_ms(process.slow_ms)
        stack.enter_context(configure_tracing("ranking", process.tracing_otlp_endpoint, process.tracing_sample_ratio))
        if config.settings.metrics_port:
            stack.enter_context(serve_metrics(process.metrics_host, config.settings.metrics_port + rank))
        return stack.pop_all()


def _bundle_watcher(config: ReplicaConfig, rank: int, keeper: ScorerKeeper, clock: Clock) -> BundleWatcher[Scorer]:
    settings = config.settings
    source = BundleSource(
        registry=Registry(settings.registry),
        cache_dir=settings.data_dir.absolute() / "ranking" / f"bundles-{rank}",
        poll_seconds=settings.bundle_poll_seconds,
    )
    make = config.load or partial(_load_ranker, settings)
    return BundleWatcher(source, lambda bundle: make(bundle, settings.threads), keeper.install, clock, report)


def _load_ranker(settings: RankingSettings, bundle: Bundle, threads: int) -> Scorer:
    from services.ranking.loading import load_ranker  # noqa: PLC0415 - a replica with another scorer needs no torch

    return load_ranker(settings, bundle, threads)
