"""Every overlay is one that Kubernetes takes: known kinds, known fields, and settings that the services know."""

from __future__ import annotations

import pytest

from services.command.environment import SETTINGS
from shared.kernel.config import ServiceSettings, load
from shared.kernel.policy import load_policy
from shared.kernel.variables import FILE_SUFFIX, is_secret, variables
from tests.deploy.manifests import OVERLAYS, Resource, named, of_kind, overlay, settings
from tests.deploy.processes import POLICY
from tests.deploy.schemas import VERSIONS, broken

ELSEWHERE = {"RayService", "ServiceMonitor", "PrometheusRule", "Certificate", "Issuer"}
"""Kinds of others; the first three are checked by test_custom_resources.py, certificates below."""
KNOWN = {name for each in SETTINGS for name in variables(each)} | {
    name + FILE_SUFFIX for each in SETTINGS for name, field in variables(each).items() if is_secret(field)
}


def own_kinds(name: str) -> list[Resource]:
    return [each for each in overlay(name) if each["kind"] not in ELSEWHERE]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", OVERLAYS)
def test_kubernetes_knows_every_kind_and_every_field(name: str, version: str) -> None:
    assert [fault for each in own_kinds(name) if (fault := broken(each, version))] == []


@pytest.mark.parametrize(
    "plant",
    [
        lambda each: each.update(kind="Deplyoment"),
        lambda each: each["spec"].update(replica=2),
        lambda each: each["spec"].update(replicas="two"),
        lambda each: each["spec"].pop("selector"),
        lambda each: each["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["grpc"].update(name="live"),
    ],
    ids=["unknown kind", "unknown field", "wrong type", "missing field", "unknown field far down"],
)
def test_a_manifest_that_kubernetes_would_refuse_is_seen(plant) -> None:  # type: ignore[no-untyped-def]
    deployment = named(overlay("local"), "Deployment", "winnow-recommendation")

    plant(deployment)

    assert broken(deployment, VERSIONS[-1])


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_setting_of_an_overlay_is_one_of_the_example(name: str) -> None:
    given = settings(overlay(name)).keys() | {
        variable["name"]
        for each in of_kind(overlay(name), "Deployment", "StatefulSet", "CronJob")
        for variable in _container(each).get("env", [])
    }

    assert given - KNOWN == set()


@pytest.mark.parametrize("settings_class", SETTINGS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", OVERLAYS)
def test_the_services_can_read_the_settings_of_an_overlay(
    name: str, settings_class: type[ServiceSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in settings(overlay(name)).items():
        if not variable.endswith(FILE_SUFFIX):
            monkeypatch.setenv(variable, value)

    assert load(settings_class)


@pytest.mark.parametrize("name", ["production", "gpu"])
def test_certificates_carry_the_names_that_callers_dial_and_the_policy_knows(name: str) -> None:
    resources = overlay(name)
    policy = load_policy(POLICY)
    dialled = {
        address.partition(":")[0]
        for variable, address in settings(resources).items()
        if variable.endswith("_ADDRESS") and address.startswith("winnow-")
    }
    certificates = [each["spec"] for each in of_kind(resources, "Certificate") if not each["spec"].get("isCA")]

    assert dialled <= {dns for each in certificates for dns in each.get("dnsNames", [])}
    assert {uri for each in certificates for uri in each["uris"]} >= {
        uri for uri in policy.clients if uri.startswith("spiffe://winnow/")
    }
    assert all(each["issuerRef"] == {"name": "winnow", "kind": "Issuer"} for each in certificates)
    assert named(resources, "Issuer", "winnow")["spec"]["ca"]["secretName"] == "winnow-ca"


@pytest.mark.parametrize("name", ["production", "gpu"])
def test_each_pod_mounts_the_certificate_that_is_made_for_it(name: str) -> None:
    resources = overlay(name)
    made = {each["spec"]["secretName"] for each in of_kind(resources, "Certificate")}

    mounted = {
        volume["secret"]["secretName"]
        for each in of_kind(resources, "Deployment", "StatefulSet")
        for volume in each["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "tls"
    }

    assert mounted == {
        f"winnow-{each}-tls" for each in ("feedback", "feature", "candidate-generation", "recommendation")
    }
    assert mounted < made


@pytest.mark.parametrize("name", ["production", "gpu"])
def test_the_autoscaler_alone_says_how_many_pods_there_are(name: str) -> None:
    resources = overlay(name)

    for scaler in of_kind(resources, "HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert "replicas" not in named(resources, target["kind"], target["name"])["spec"]


def _container(resource: Resource) -> Resource:
    spec = resource["spec"]
    template = spec["jobTemplate"]["spec"]["template"] if resource["kind"] == "CronJob" else spec["template"]
    container: Resource = template["spec"]["containers"][0]
    return container
