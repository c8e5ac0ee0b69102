"""A fault for each rule: what a careless change of the manifests might bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tests.deploy import network_rules, pod_rules
from tests.deploy.manifests import Resource, named, of_kind
from tests.deploy.pod_rules import Rule

Plant = Callable[[Sequence[Resource]], None]


def _pod(resources: Sequence[Resource]) -> Resource:
    spec: Resource = named(resources, "Deployment", "winnow-recommendation")["spec"]["template"]["spec"]
    return spec


def _container(resources: Sequence[Resource]) -> Resource:
    container: Resource = _pod(resources)["containers"][0]
    return container


def _in_container(change: Callable[[Resource], object], resources: Sequence[Resource]) -> None:
    change(_container(resources))


def _in_pod(change: Callable[[Resource], object], resources: Sequence[Resource]) -> None:
    change(_pod(resources))


def _in(kind: str, name: str, change: Callable[[Resource], object], resources: Sequence[Resource]) -> None:
    change(named(resources, kind, name))


def _worker(resource: Resource) -> Resource:
    spec: Resource = resource["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]["spec"]
    return spec


def _without_default(resources: Sequence[Resource]) -> None:
    named(resources, "NetworkPolicy", "winnow-default")["spec"]["podSelector"] = {"matchLabels": {"a": "b"}}


def _secret(resources: Sequence[Resource]) -> None:
    assert isinstance(resources, list)
    resources.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"token": "t"}})


def _mutable(resources: Sequence[Resource]) -> None:
    del of_kind(resources, "ConfigMap")[0]["immutable"]


FAULTS: tuple[tuple[Rule, Plant], ...] = (
    (pod_rules.never_root, partial(_in_pod, lambda pod: pod["securityContext"].update(runAsNonRoot=False))),
    (pod_rules.never_root, partial(_in_container, lambda each: each["securityContext"].update(runAsUser=0))),
    (
        pod_rules.cannot_become_more,
        partial(_in_container, lambda each: each["securityContext"].update(privileged=True)),
    ),
    (pod_rules.cannot_become_more, partial(_in_container, lambda each: each["securityContext"].pop("capabilities"))),
    (
        pod_rules.cannot_become_more,
        partial(_in_container, lambda each: each["securityContext"].pop("allowPrivilegeEscalation")),
    ),
    (pod_rules.cannot_reach_the_node, partial(_in_pod, lambda pod: pod["securityContext"].pop("seccompProfile"))),
    (pod_rules.cannot_reach_the_node, partial(_in_pod, lambda pod: pod.update(hostNetwork=True))),
    (pod_rules.cannot_reach_the_node, partial(_in_pod, lambda pod: pod["volumes"].append({"hostPath": {"path": "/"}}))),
    (
        pod_rules.write_only_where_they_may,
        partial(_in_container, lambda each: each["securityContext"].update(readOnlyRootFilesystem=False)),
    ),
    (
        pod_rules.write_only_where_they_may,
        partial(
            _in_container, lambda each: each["volumeMounts"].append({"name": "registry", "mountPath": "/registry"})
        ),
    ),
    (
        pod_rules.have_room_for_what_is_temporary,
        partial(_in_container, lambda each: each.update(volumeMounts=each["volumeMounts"][:1])),
    ),
    (pod_rules.hold_no_token, partial(_in_pod, lambda pod: pod.pop("automountServiceAccountToken"))),
    (pod_rules.are_limited, partial(_in_container, lambda each: each["resources"].pop("limits"))),
    (pod_rules.are_limited, partial(_in_container, lambda each: each["resources"]["requests"].update(memory="1Mi"))),
    (pod_rules.run_known_images, partial(_in_container, lambda each: each.update(image="registry:5000/winnow"))),
    (pod_rules.run_known_images, partial(_in_container, lambda each: each.update(image="winnow:latest"))),
    (pod_rules.are_probed, partial(_in_container, lambda each: each.pop("readinessProbe"))),
    (pod_rules.are_probed, partial(_in_container, lambda each: each["livenessProbe"]["grpc"].pop("service"))),
    (pod_rules.drain_in_time, partial(_in_container, lambda each: each.pop("lifecycle"))),
    (pod_rules.drain_in_time, partial(_in_pod, lambda pod: pod.update(terminationGracePeriodSeconds=20))),
    (pod_rules.spread_over_nodes, partial(_in_pod, lambda pod: pod.pop("topologySpreadConstraints"))),
    (pod_rules.take_settings_only_by_hash, _mutable),
    (
        pod_rules.take_settings_only_by_hash,
        partial(_in_container, lambda each: each["envFrom"].append({"configMapRef": {"name": "winnow-settings"}})),
    ),
    (
        pod_rules.keep_secrets_in_files,
        partial(_in_container, lambda each: each.update(env=[{"name": "T", "valueFrom": {"secretKeyRef": {}}}])),
    ),
    (pod_rules.keep_secrets_in_files, _secret),
    (
        pod_rules.mount_what_their_settings_name,
        partial(_in_pod, lambda pod: pod["volumes"][-1]["secret"]["items"].pop()),
    ),
    (network_rules.nothing_is_open_by_default, _without_default),
    (
        network_rules.every_pod_has_a_policy,
        partial(_in, "NetworkPolicy", "winnow-feature", lambda each: each["spec"]["podSelector"].clear()),
    ),
    (
        network_rules.every_pod_has_a_policy,
        partial(_in, "NetworkPolicy", "winnow-feature", lambda each: each["spec"]["ingress"][0].pop("from")),
    ),
    (
        network_rules.the_ranker_is_reached_through_its_front_only,
        partial(_in, "NetworkPolicy", "winnow-ranking", lambda each: each["spec"]["ingress"][0].pop("ports")),
    ),
    (
        network_rules.the_ranker_is_reached_through_its_front_only,
        partial(_in, "RayService", "winnow-ranker", lambda each: _worker(each)["containers"].pop()),
    ),
    (
        network_rules.callers_reach_whom_they_call,
        partial(_in, "NetworkPolicy", "winnow-feedback", lambda each: each["spec"]["ingress"][0]["from"].pop(0)),
    ),
    (
        network_rules.callers_reach_whom_they_call,
        partial(_in, "NetworkPolicy", "winnow-recommendation", lambda each: each["spec"]["egress"].clear()),
    ),
    (
        network_rules.services_have_pods,
        partial(_in, "Service", "winnow-feature", lambda each: each["spec"]["selector"].update(a="b")),
    ),
    (
        network_rules.disruptions_are_bounded,
        partial(_in, "PodDisruptionBudget", "winnow-feature", lambda each: each["spec"].update(maxUnavailable=0)),
    ),
)
