"""Winnow's ranker against the same weights behind BentoML, LitServe and default Ray Serve, and RecTools' recommend().

usage: python -m tests.benchmarks.peers_bench [--registry DIR] [--seconds 3]

Every server runs alone beside the client, on the same processors, with one copy of the model on one thread and without
a cache, and ranks 300 candidates for histories of 100 events. Winnow and one row of Ray Serve speak gRPC, the others
what they offer first: JSON over HTTP. Before it is measured, each server must give the model's own probabilities.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import uvloop
from rich import box
from rich.console import Console
from rich.table import Table

from services.command.places import data_dir
from shared.domain.ranking import RankingRequest
from shared.model.bundle import Bundle
from shared.model.ranker import RankerModel
from tests.benchmarks.closed_loop import Speed, speed_of
from tests.benchmarks.ranking_requests import current_bundle, made_up_requests
from tests.benchmarks.rivals import ROOT, peers_python, running
from tests.benchmarks.servers import Server, default_serve, serves_http, winnow
from tests.benchmarks.transports import Dialect, open_asking
from tests.ports import free_port

CONCURRENCY = (1, 8, 32)
REQUESTS = 256
LARGEST_BATCH = 16
TOLERANCE = 1e-4
"""Of probabilities: the peers have another NumPy, and batches other shapes."""
PEERS = ("bentoml", "litserve", "rectools", "torch", "numpy")


@dataclass(frozen=True, slots=True)
class Rival:
    """A row of the table.

    Attributes:
        serving: runs it.
        dialect: of its HTTP API; None: it is asked over gRPC.
    """

    name: str
    serving: Callable[[], AbstractContextManager[Server]]
    dialect: Dialect | None = None


def main() -> None:
    """Measure one after the other and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--registry", default=str(data_dir().absolute() / "registry"))
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    arguments = parser.parse_args()
    versions, own = _peer_versions(), {name: version(name) for name in ("torch", "numpy")}
    console = Console(width=170)
    table = Table("ranker", "protocol", *(f"at {each}: req/s, p50, p99 ms" for each in CONCURRENCY), box=box.MARKDOWN)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = current_bundle(arguments.registry, folder / "bundle")
        requests = made_up_requests(bundle, REQUESTS)
        (expected,) = RankerModel.load(bundle).score(requests[:1])
        for rival in _rivals(arguments.registry, bundle, folder, versions):
            with rival.serving() as server:
                speeds = uvloop.run(_speeds(rival, server, requests, expected.probabilities, arguments.seconds))
            table.add_row(rival.name, "gRPC" if rival.dialect is None else "HTTP, JSON", *map(_told, speeds))
            console.print(f"{rival.name}: done, load {os.getloadavg()[0]:.1f}")
        alone = _told(_rectools(bundle, arguments.seconds))
        table.add_row(f"RecTools {versions['rectools']} recommend(), all items", "none, in process", alone, "", "")
    table.title = "; ".join(
        f"{side}: torch {found['torch']}, NumPy {found['numpy']}"
        for side, found in (("Winnow and Ray Serve", own), ("the others", versions))
    )
    console.print(table)


def _rivals(registry: str, bundle: Bundle, folder: Path, versions: dict[str, str]) -> Iterator[Rival]:
    ray, bento = f"Ray Serve {version('ray')}", f"BentoML {versions['bentoml']}"
    lit = f"LitServe {versions['litserve']}"
    yield Rival("Winnow", lambda: winnow(registry, folder / "winnow"))
    yield Rival(f"{ray}, default", lambda: default_serve(bundle))
    yield Rival(f"{ray}, default", lambda: default_serve(bundle), Dialect())
    yield Rival(bento, lambda: _bentoml(bundle, folder), Dialect("rank", "question"))
    yield Rival(f"{bento}, batching", lambda: _bentoml(bundle, folder), Dialect("rank_batched", "questions", many=True))
    yield Rival(lit, lambda: _litserve(bundle, 1), Dialect("predict"))
    yield Rival(f"{lit}, batching", lambda: _litserve(bundle, LARGEST_BATCH), Dialect("predict"))


async def _speeds(
    rival: Rival, server: Server, requests: Sequence[RankingRequest], expected: np.ndarray, seconds: float
) -> list[Speed]:
    async with open_asking(server, requests, rival.dialect) as ask:
        given = np.array(await ask(0), np.float32).reshape(expected.shape)
        if not np.allclose(given, expected, atol=TOLERANCE):
            sys.exit(f"{rival.name} gives other probabilities: off by {np.abs(given - expected).max():.6f}")
        return [await speed_of(ask, concurrency, seconds) for concurrency in CONCURRENCY]


@contextmanager
def _bentoml(bundle: Bundle, folder: Path) -> Iterator[Server]:
    url = f"http://127.0.0.1:{(port := free_port())}/"
    environ = {
        "BUNDLE_FOLDER": str(bundle.path),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_NUM_THREADS": "1",
    }
    command = [peers_python(), "-m", "bentoml", "serve", "tests.benchmarks.peers.bento_ranker:Ranker"]
    with running([*command, "--host", "127.0.0.1", "--port", str(port)], environ, lambda: serves_http(f"{url}readyz")):
        yield Server(url=url)


@contextmanager
def _litserve(bundle: Bundle, largest_batch: int) -> Iterator[Server]:
    url = f"http://127.0.0.1:{(port := free_port())}/"
    command = [peers_python(), "-m", "tests.benchmarks.peers.litserve_ranker", str(bundle.path), str(port)]
    environ = {"OMP_NUM_THREADS": "1"}
    with running([*command, str(largest_batch)], environ, lambda: serves_http(f"{url}health")):
        yield Server(url=url)


def _rectools(bundle: Bundle, seconds: float) -> Speed:
    encoder = bundle.manifest.ranker
    shape = {name: encoder[name] for name in ("width", "heads", "blocks", "history_limit")}
    shape_json = json.dumps(shape | {"items": len(bundle.vocabulary)})
    return Speed(**json.loads(_peer("-m", "tests.benchmarks.peers.rectools_recommend", shape_json, str(seconds))))


def _peer_versions() -> dict[str, str]:
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    return dict(zip(PEERS, _peer("-c", code, *PEERS).split(), strict=True))


def _peer(*arguments: str) -> str:
    """The last line that a program of the peers prints."""
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [peers_python(), *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout.splitlines()[-1]


def _told(speed: Speed) -> str:
    return f"{speed.rate:,.0f}, {speed.p50_ms:.1f}, {speed.p99_ms:.1f}"


if __name__ == "__main__":
    main()
