"""The process that runs Ray: starts it, deploys the ranker, and takes everything down with it when it ends.

`serve_runtime.py` starts it as `python -m services.ranking.ray_process` in a session of its own, gives it a `RayPlan`
on standard input, and reads reports, one JSON object a line, from standard output. Closing standard input, which the
kernel does even when the parent was killed, ends Ray at once; the line `stop` lets the requests under way finish first.

Ray is imported only here and in the replicas, so that no other process pays for it or is ended by it.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from services.ranking.log_pipe import forward, make_log_pipe
from services.ranking.orphans import kill_marked
from services.ranking.ray_plan import RayPlan
from services.ranking.replacement import replace_function
from services.ranking.run_folder import MARK_VARIABLE

APPLICATION: Final = "winnow-ranking"
STOP: Final = b"stop\n"
POLL_SECONDS: Final = 1.0
OBJECT_STORE_BYTES: Final = 80 * 1024 * 1024
"""Ray's smallest: requests and weights do not go through it."""


def main() -> None:
    """Run Ray until the parent says `stop`, goes away, or Ray breaks."""
    report = _reporter()
    plan: RayPlan = pickle.load(sys.stdin.buffer)  # noqa: S301 - the parent's own object through a private pipe
    orders = _Orders(sys.stdin.buffer)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    if pipe := plan.replica.log_pipe:
        make_log_pipe(pipe)
        threading.Thread(target=forward, args=(pipe, sys.stderr.fileno()), daemon=True).start()
    try:
        _start(plan, report)
        report(state="deployed")
        orders.stop.wait()
        _drain(plan)
    except Exception as error:  # noqa: BLE001 - whatever it was, the parent is told and Ray ends
        report(state="broken", reason=f"{type(error).__name__}: {error}")
    _end(1)


class _Orders:
    """Listens to the parent."""

    def __init__(self, source: BinaryIO) -> None:
        self.stop = threading.Event()
        threading.Thread(target=self._listen, args=(source,), daemon=True).start()

    def _listen(self, source: BinaryIO) -> None:
        for line in source:
            if line == STOP:
                self.stop.set()
        _end(1)  # the parent is gone


def _reporter() -> Callable[..., None]:
    """Reports go to what was standard output; anything that prints goes to standard error."""
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def report(**fields: str) -> None:
        print(json.dumps(fields), file=reports, flush=True)

    return report


def _end(code: int) -> None:
    """End this process and all of Ray's, without asking them: what must finish was drained before."""
    kill_marked(f"{MARK_VARIABLE}={os.environ[MARK_VARIABLE]}")
    os._exit(code)


def _start(plan: RayPlan, report: Callable[..., None]) -> None:
    """Start or join Ray and deploy the ranker; an own Ray is watched from its first moment on."""
    import ray  # noqa: PLC0415 - takes a second, and only this process may pay it

    logging.getLogger("ray").setLevel(logging.ERROR)
    settings = plan.replica.settings
    if settings.ray_address:
        ray.init(settings.ray_address, log_to_driver=False, logging_level=logging.ERROR)
    else:
        _start_own_ray(ray, plan)
        threading.Thread(target=_watch, args=(ray, report), daemon=True).start()
    _deploy(plan)


def _watch(ray: Any, report: Callable[..., None]) -> None:
    """End when a process of Ray has ended. In a thread: deploying waits for ever for a Ray that broke meanwhile."""
    while not (reason := _dead_processes(ray)):
        time.sleep(POLL_SECONDS)
    report(state="broken", reason=reason)
    _end(1)


def _start_own_ray(ray: Any, plan: RayPlan) -> None:
    _trim_ray()
    ray.init(
        "local",  # never the cluster that RAY_ADDRESS or a file in /tmp names
        num_cpus=plan.cpus,
        num_gpus=plan.gpus,
        object_store_memory=OBJECT_STORE_BYTES,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(plan.ray_dir),
    )


def _trim_ray() -> None:
    """Start only what one machine needs, and let all of it listen on loopback only.

    Left out are the dashboard (which Ray starts, and waits 3 seconds for, with `include_dashboard=False`, too), the
    autoscaler and the log shipper; the agent runs in its small form. Ray would replace 127.0.0.1 by the machine's own
    address and then listen on every interface.
    """
    from ray._private import node, services, utils  # noqa: PLC0415 - see `_start`

    for name in ("start_api_server", "start_monitor", "start_log_monitor"):
        replace_function(node.Node, name, lambda _node, **_: None)
    replace_function(services, "resolve_ip_for_localhost", lambda host: host)
    replace_function(utils, "get_dashboard_dependency_error", lambda: ImportError("the dashboard is left out"))


def _deploy(plan: RayPlan) -> None:
    from ray import serve  # noqa: PLC0415 - see `_start`

    from services.ranking.deployment import build, grpc_options, quiet_logs  # noqa: PLC0415 - imports Ray

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    serve.start(proxy_location="Disabled", grpc_options=grpc_options(), logging_config=quiet_logs())
    try:
        serve.run(build(plan.replica), name=APPLICATION, route_prefix=None)
    except RuntimeError as error:
        raise RuntimeError(f"{error} {_said_by_replicas(serve)}") from error


def _said_by_replicas(serve: Any) -> str:
    """Why replicas did not start: Serve's own error only names the deployment."""
    application = serve.status().applications.get(APPLICATION)
    deployments = application.deployments.values() if application else ()
    return " ".join(deployment.message for deployment in deployments)


def _drain(plan: RayPlan) -> None:
    """Let the requests under way finish. On a cluster the application stays: it outlives who deployed it."""
    from ray import serve  # noqa: PLC0415 - see `_start`

    if not plan.replica.settings.ray_address:
        serve.delete(APPLICATION)


def _dead_processes(ray: Any) -> str:
    """Ray's own processes that ended. It does not start them again, and the ranker would never recover."""
    dead = ray._private.worker._global_node.dead_processes()  # noqa: SLF001 - there is no public way to ask
    return ", ".join(f"Ray's {name} ended" for name, _ in dead)


if __name__ == "__main__":
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    main()
