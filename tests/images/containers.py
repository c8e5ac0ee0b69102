"""Images built by buildah, and the local overlay's manifests run by podman: no docker, no registry, no cluster."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlparse

import yaml

from tests.deploy.manifests import ROOT, Resource, named, overlay
from tests.ports import free_port

NETWORK: Final = f"winnow-{os.getpid()}"
CONFIGURATION: Final = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""
"""For machines without systemd, such as a container or a small virtual machine."""


def build(services: Sequence[str]) -> None:
    """Build images as `make images` does, on the base image that is there."""
    options = ["--isolation", "chroot", "--pull-never", "--layers", *_mounts()]
    environ = {**os.environ, "BUILDER": "buildah", "BUILD_OPTIONS": " ".join(options)}
    made = subprocess.run(
        [ROOT / "deploy" / "images.sh", *services], env=environ, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-4000:]


@dataclass(slots=True)
class Pods:
    """Pods of podman.

    Attributes:
        folder: of podman's configuration and the manifests.
        ports: of this machine, by service and by the name of the container's port.
    """

    folder: Path
    ports: dict[tuple[str, str], int] = field(default_factory=dict)

    @contextmanager
    def playing(self, services: Sequence[str]) -> Iterator[None]:
        """Run the manifests of services until the block ends."""
        (self.folder / "containers.conf").write_text(CONFIGURATION)
        manifests = self.folder / "manifests.yaml"
        manifests.write_text(yaml.safe_dump_all(self._manifests(services)))
        self.podman("network", "create", NETWORK)
        try:
            self.podman("play", "kube", "--network", NETWORK, str(manifests))
            yield
        finally:
            for service in services:
                self.podman("pod", "rm", "--force", f"{_name(service)}-pod-0")
            self.podman("volume", "rm", "winnow-secrets", self._policy_name())
            self.podman("secret", "rm", "winnow-secrets")
            self.podman("network", "rm", NETWORK)

    def podman(self, *arguments: str) -> str:
        """Give podman one command; it must succeed."""
        made = self._run(*arguments)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def log(self, service: str) -> str:
        """What a service has logged; podman gives each stream of a container as that stream."""
        return self._run("logs", self.container(service)).stderr

    def container(self, service: str) -> str:
        """What podman calls a service's container."""
        return f"{_name(service)}-pod-0-{service}"

    def address(self, service: str, port: str) -> str:
        """Where this machine reaches a port of a service's container."""
        return f"127.0.0.1:{self.ports[service, port]}"

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "CONTAINERS_CONF": str(self.folder / "containers.conf")}
        return subprocess.run(["podman", *arguments], env=environ, capture_output=True, text=True, check=False)

    def _policy_name(self) -> str:
        return str(named(overlay("local"), "ConfigMap", "winnow-policy")["metadata"]["name"])

    def _manifests(self, services: Sequence[str]) -> list[Resource]:
        resources = overlay("local")
        settings = named(resources, "ConfigMap", "winnow-settings")
        for variable, address in settings["data"].items():
            host, _, port = address.partition(":")
            if host.startswith("winnow-") and port:  # podman has no Services; its name server knows pods
                settings["data"][variable] = f"{host}-pod-0:{port}"
        key = base64.b64encode(b"a key of nothing but tests").decode()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "winnow-secrets"}}
        secrets: Resource = {**secret, "data": {"log-pseudonym-key": key}}
        policy = named(resources, "ConfigMap", "winnow-policy")
        return [settings, policy, secrets, *(self._playable(service, resources) for service in services)]

    def _playable(self, service: str, resources: Sequence[Resource]) -> Resource:
        """A service's workload with nothing in it that podman 4.3 does not know.

        It knows Deployments but no StatefulSets, no claims made from templates, no gRPC probes (the tests ask by
        themselves), no secrets that may be missing, and wants to hear of the others that they may not.
        """
        workload = named(resources, "StatefulSet", _name(service))
        workload["kind"] = "Deployment"
        spec = workload["spec"]
        pod = spec["template"]["spec"]
        claimed = [each["metadata"]["name"] for each in spec.pop("volumeClaimTemplates")]
        kept = [each for each in pod["volumes"] if not each.get("secret", {}).get("optional")]
        for volume in kept:
            for kind in volume.keys() & {"secret", "configMap"}:
                volume[kind]["optional"] = False
            if volume.pop("persistentVolumeClaim", None):
                volume["emptyDir"] = {}
        pod["volumes"] = kept + [{"name": name, "emptyDir": {}} for name in claimed]
        (container,) = pod["containers"]
        for unknown in ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle"):
            del container[unknown]
        names = {volume["name"] for volume in pod["volumes"]}
        container["volumeMounts"] = [each for each in container["volumeMounts"] if each["name"] in names]
        for each in (*pod["volumes"], *container["volumeMounts"]):
            each["name"] = f"{service}-{each['name']}"  # podman gives pods the same folder under the same name
        container["image"] = f"localhost/{container['image']}"
        for port in container["ports"]:
            self.ports[service, port["name"]] = port["hostPort"] = free_port()
        for name in ("serviceName", "podManagementPolicy"):
            spec.pop(name, None)
        return workload


def _name(service: str) -> str:
    return f"winnow-{service}"


def _mounts() -> list[str]:
    """What pip is set up with on this machine it is set up with in the build: certificates, indexes, folders."""
    said = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    words = said.stdout.replace("'", " ").replace("=", " ").split()
    places = {Path("/etc/pip.conf"), Path("/etc/ssl/certs")}
    places |= {Path(urlparse(word).path) for word in words if word.startswith(("file:///", "/"))}
    roots = {place.parent if place.name == "simple" else place for place in places if place.exists()}
    return [word for root in sorted(roots) for word in ("--volume", f"{root}:{root}:ro")]
