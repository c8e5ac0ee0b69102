"""Custom resources against the definitions that their operators publish.

Collected where WINNOW_TEST_CRDS names a folder of CustomResourceDefinitions (`make test` takes ../shared/schemas where
that is there): the definitions are other projects' and are not copied into this one.
"""

from __future__ import annotations

import os
from copy import deepcopy
from pathlib import Path

import pytest

from tests.deploy.manifests import OVERLAYS, Resource, of_kind, overlay
from tests.deploy.schemas import CustomKinds

KINDS = CustomKinds(Path(os.environ["WINNOW_TEST_CRDS"]))


def ray_service() -> Resource:
    (made,) = of_kind(overlay("production"), "RayService")
    return deepcopy(made)


@pytest.mark.parametrize("name", OVERLAYS)
def test_operators_know_every_field_of_their_resources(name: str) -> None:
    resources = [each for each in overlay(name) if KINDS.knows(each)]

    assert [fault for each in resources for fault in KINDS.broken(each)] == []


def test_the_resources_of_both_operators_are_there_to_be_checked() -> None:
    assert {each["kind"] for each in overlay("production") if KINDS.knows(each)} >= {"RayService", "ServiceMonitor"}


@pytest.mark.parametrize(
    "plant",
    [
        lambda each: each["spec"].update(serveConfig="x"),
        lambda each: each["spec"]["rayClusterConfig"].update(enableInTreeAutoscaling="yes"),
        lambda each: each["spec"]["rayClusterConfig"]["workerGroupSpecs"][0].pop("groupName"),
        lambda each: each["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"].update(container=[]),
    ],
    ids=["unknown field", "wrong type", "missing field", "unknown field far down"],
)
def test_a_resource_that_its_operator_would_refuse_is_seen(plant) -> None:  # type: ignore[no-untyped-def]
    resource = ray_service()

    plant(resource)

    assert list(KINDS.broken(resource))
