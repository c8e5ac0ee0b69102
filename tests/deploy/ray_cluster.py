"""The ranker as the shipped RayService runs it: Ray Serve by the manifest's configuration, and Envoy by its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from services.ranking.orphans import kill_marked
from services.ranking.run_folder import MARK_VARIABLE
from tests.certificates import LOOPBACK, Authority, write_files
from tests.deploy.manifests import KUBERNETES, ROOT, Resource, named, of_kind, overlay, settings
from tests.ports import free_port

BIN = Path(sys.executable).parent
PRODUCTION: Final = KUBERNETES / "overlays" / "production"
TOKEN: Final = "the ranker's own token"
RAY_PORTS: Final = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
"""Shared silently by all Rays of a machine, where they are not set."""


@dataclass(slots=True)
class RayCluster:
    """One node of a Ray cluster with a front before it.

    Attributes:
        folder: of everything.
        authority: that the front trusts.
    """

    folder: Path
    authority: Authority = field(default_factory=Authority)
    serve_port: int = field(default_factory=free_port)
    callers_port: int = field(default_factory=free_port)
    probes_port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run both until the block ends."""
        with self._ray(), self._front():
            yield

    def alive(self) -> bool:
        """Whether neither has ended; fails the test with what it said otherwise."""
        assert all(each.poll() is None for each in self.processes), self.log()
        return True

    def log(self) -> str:
        """What both said, the end of it."""
        return "\n".join((self.folder / name).read_text()[-3000:] for name in ("ray.log", "envoy.log"))

    @contextmanager
    def _ray(self) -> Iterator[None]:
        configuration = self.folder / "serve.yaml"
        configuration.write_text(yaml.safe_dump(self._serve_configuration()))
        mark = {MARK_VARIABLE: str(self.folder)}
        with (self.folder / "ray.log").open("wb") as log:
            command = [BIN / "serve", "run", configuration]
            environ = self._environ() | mark
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        try:
            yield
        finally:
            process.kill()
            process.wait()
            kill_marked(f"{MARK_VARIABLE}={self.folder}")

    @contextmanager
    def _front(self) -> Iterator[None]:
        write_files(
            self.folder / "tls", self.authority.issue_spiffe("spiffe://winnow/ranking", LOOPBACK), self.authority
        )
        for name in ("envoy.yaml", "certificate.yaml", "authority.yaml"):
            text = (PRODUCTION / name).read_text()
            for written, here in self._places().items():
                text = text.replace(written, here)
            (self.folder / name).write_text(text)
        with (self.folder / "envoy.log").open("wb") as log:
            command = [BIN / "envoy", "--config-path", self.folder / "envoy.yaml", "--concurrency", "1"]
            process = subprocess.Popen([*command, "--disable-hot-restart"], stdout=log, stderr=log)
        self.processes.append(process)
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def _places(self) -> dict[str, str]:
        """Ports and folders of a pod, and where they are here."""
        return {
            "port_value: 50054": f"port_value: {self.callers_port}",
            "port_value: 50050": f"port_value: {self.probes_port}",
            "port_value: 9000": f"port_value: {self.serve_port}",
            "0.0.0.0": LOOPBACK,  # noqa: S104 - read, not bound to
            "/front/": f"{self.folder}/",
            "/tls/": f"{self.folder}/tls/",
            "path: /tls}": f"path: {self.folder}/tls}}",
        }

    def _serve_configuration(self) -> dict[str, Any]:
        (service,) = of_kind(overlay("production"), "RayService")
        configuration: Resource = yaml.safe_load(service["spec"]["serveConfigV2"])
        configuration["http_options"] = {"host": LOOPBACK, "port": free_port()}
        configuration["grpc_options"]["port"] = self.serve_port
        scaling = configuration["applications"][0]["deployments"][0]["autoscaling_config"]
        scaling.update(min_replicas=1, max_replicas=1)  # a machine of tests has few processors
        return configuration

    def _environ(self) -> dict[str, str]:
        resources = overlay("production")
        given = settings(resources) | named(resources, "ConfigMap", "winnow-ray")["data"]
        given = {name: value for name, value in given.items() if not name.endswith("_FILE")}
        here = {
            "WINNOW_RANKING_TOKEN": TOKEN,
            "WINNOW_RANKING_REGISTRY_URL": str(self.folder / "registry"),
            "WINNOW_RANKING_METRICS_PORT": "0",
            "WINNOW_DATA_DIR": str(self.folder / "data"),
            "PYTHONPATH": f"{ROOT}:{ROOT / 'shared' / 'stubs'}",
            "HOME": str(self.folder),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "0" * 64,
            "SPT_NOENV": "1",
        }
        return {**os.environ, **given, **{name: str(free_port()) for name in RAY_PORTS}, **here}
