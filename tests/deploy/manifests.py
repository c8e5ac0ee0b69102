"""The manifests as `kubectl apply -k` would send them, and the pods that are in them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("local", "production", "gpu")
KUBECTL = Path(sys.executable).parent / "kubectl"
BATCH = ("Job", "CronJob")

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod template.

    Attributes:
        name: of what makes the pods.
        labels: of the pods.
        spec: of the pods.
        batch: whether it ends by itself.
    """

    name: str
    labels: dict[str, str]
    spec: Resource
    batch: bool

    def __str__(self) -> str:
        return self.name

    def containers(self) -> list[Resource]:
        """Of every kind."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def render(folder: Path) -> list[Resource]:
    """What a kustomization comes to."""
    made = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return [each for each in yaml.load_all(made.stdout, yaml.CSafeLoader) if each]


@cache
def _rendered(name: str) -> list[Resource]:
    return render(KUBERNETES / "overlays" / name)


def overlay(name: str) -> list[Resource]:
    """One of the shipped overlays, as the caller's own copy."""
    return deepcopy(_rendered(name))


def of_kind(resources: Sequence[Resource], *kinds: str) -> list[Resource]:
    """Those of the named kinds."""
    return [each for each in resources if each["kind"] in kinds]


def named(resources: Sequence[Resource], kind: str, name: str) -> Resource:
    """The one with a name; of a name with a hash, the part before it."""
    found = [each for each in of_kind(resources, kind) if each["metadata"]["name"].startswith(name)]
    exact = [each for each in found if each["metadata"]["name"] == name]
    (one,) = exact or found
    return one


def pods(resources: Sequence[Resource]) -> Iterator[Pod]:
    """Every pod that something in here makes."""
    for each in resources:
        for name, template in _templates(each):
            labels = template.get("metadata", {}).get("labels", {})
            yield Pod(name, labels, template["spec"], each["kind"] in BATCH)


def settings(resources: Sequence[Resource]) -> dict[str, str]:
    """The variables that every container is given."""
    data: dict[str, str] = named(resources, "ConfigMap", "winnow-settings")["data"]
    return data


def _templates(resource: Resource) -> Iterator[tuple[str, Resource]]:
    kind, name = resource["kind"], resource["metadata"]["name"]
    spec = resource.get("spec", {})
    if kind in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
        yield name, spec["template"]
    elif kind == "CronJob":
        yield name, spec["jobTemplate"]["spec"]["template"]
    elif kind == "RayService":
        cluster = spec["rayClusterConfig"]
        yield f"{name} head", cluster["headGroupSpec"]["template"]
        for group in cluster["workerGroupSpecs"]:
            yield f"{name} {group['groupName']}", group["template"]
    elif kind == "Pod":
        yield name, resource
