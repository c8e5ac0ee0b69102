"""The composition root of a process that runs the ranker. What a replica consists of stands in `replica.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.ranking.ray_plan import LoadScorer
from services.ranking.run_folder import open_run_folder
from services.ranking.serve_runtime import RayServe, open_ray_serve
from services.ranking.settings import RankingSettings
from shared.kernel.process import ProcessSettings
from shared.model.registry import Registry


@asynccontextmanager
async def open_ranking(
    settings: RankingSettings, process: ProcessSettings, load: LoadScorer | None = None
) -> AsyncIterator[RayServe]:
    """Run the ranker's replicas on Ray Serve, and keep them running, while this lasts.

    Opens at once: `readiness` of what it gives tells when a replica can rank.

    Args:
        settings: of the ranker.
        process: logs, traces and metrics of the replicas' processes.
        load: makes the scorer of a bundle, a function that replicas can import; None: the bundle's own ranker.

    Raises:
        ConfigError: Ray is not installed, the address is taken, another process runs the ranker of the data folder, or
            the registry is of no known kind.
    """
    Registry(settings.registry)  # the replicas open it; what is wrong with it is told here
    with open_run_folder(settings.run_dir) as folder:
        async with open_ray_serve(settings, process, folder, load) as ray_serve:
            yield ray_serve
