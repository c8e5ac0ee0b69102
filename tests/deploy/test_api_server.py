"""Every overlay, applied to a real API server.

Collected where WINNOW_TEST_KUBECONFIG names the configuration of a cluster's administrator. The cluster must be one to
throw away: its namespace `winnow` is made and deleted. Definitions of WINNOW_TEST_CRDS and those of cert-manager below
are made where they are missing.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.deploy.manifests import KUBECTL, KUBERNETES, OVERLAYS, Resource, overlay

KUBECONFIG = os.environ["WINNOW_TEST_KUBECONFIG"]
CRDS = os.environ.get("WINNOW_TEST_CRDS", "")


def kubectl(*arguments: str | Path, given: str = "") -> str:
    """Give one command; it must succeed."""
    command = [KUBECTL, "--kubeconfig", KUBECONFIG, *arguments]
    made = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return made.stdout


def definition(kind: str, plural: str) -> Resource:
    """A kind of cert-manager, whose own definitions a server of tests may lack: any fields."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.cert-manager.io"},
        "spec": {
            "group": "cert-manager.io",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


@pytest.fixture(scope="module", autouse=True)
def kinds() -> Iterator[None]:
    """The kinds of other projects; and at the end nothing of ours."""
    if CRDS:
        kubectl("apply", "--server-side", "--force-conflicts", "-f", CRDS)
    there = kubectl("get", "crd", "-o", "name")
    for kind, plural in (("Certificate", "certificates"), ("Issuer", "issuers")):
        if f"/{plural}.cert-manager.io" not in there:
            kubectl("apply", "-f", "-", given=yaml.safe_dump(definition(kind, plural)))
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    yield
    kubectl("delete", "namespace", "winnow", "--ignore-not-found", "--wait=false")


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_server_takes_every_resource_of_an_overlay(name: str) -> None:
    folder = KUBERNETES / "overlays" / name

    said = kubectl("apply", "--server-side", "--force-conflicts", "--validate=strict", "-k", folder)

    assert len(said.splitlines()) == len(overlay(name))


def test_a_server_refuses_a_pod_that_may_become_root() -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "root", "namespace": "winnow"},
        "spec": {"containers": [{"name": "root", "image": "root:1"}]},
    }

    with pytest.raises(AssertionError, match="violates PodSecurity"):
        kubectl("apply", "-f", "-", given=yaml.safe_dump(pod))
