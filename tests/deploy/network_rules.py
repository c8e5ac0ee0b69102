"""What the manifests must say about who reaches whom. A rule gives the faults that it sees, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.deploy.manifests import Pod, Resource, named, of_kind, pods, settings
from tests.deploy.pod_rules import HEAD, Rule

MONITORING = "monitoring"
OPERATOR_OF_RAY = "kuberay-system"


def nothing_is_open_by_default(resources: Sequence[Resource]) -> Iterator[str]:
    """A pod that no policy names neither calls nor is called; only metrics are read everywhere."""
    closed = [each for each in of_kind(resources, "NetworkPolicy") if each["spec"]["podSelector"] == {}]
    if not any(set(each["spec"]["policyTypes"]) == {"Ingress", "Egress"} for each in closed):
        yield "no NetworkPolicy closes the namespace"
    for each in closed:
        for rule in each["spec"].get("ingress", []):
            if _namespaces(rule) != {MONITORING}:
                yield f"NetworkPolicy {each['metadata']['name']}: opens every pod to {_namespaces(rule) or 'all'}"


def every_pod_has_a_policy(resources: Sequence[Resource]) -> Iterator[str]:
    """A NetworkPolicy of its own, which names who may call."""
    for pod in pods(resources):
        own = _policies_of(pod, resources)
        if not any("Ingress" in each["spec"]["policyTypes"] for each in own):
            yield f"{pod}: has no NetworkPolicy of its own"
        for each in own:
            if any(not rule.get("from") for rule in each["spec"].get("ingress", [])):
                yield f"{pod}: is open to everybody ({each['metadata']['name']})"


def the_ranker_is_reached_through_its_front_only(resources: Sequence[Resource]) -> Iterator[str]:
    """Serve's ports know neither TLS nor callers: on a Ray cluster only Ray and its operator reach them."""
    for pod in pods(resources):
        if "winnow/ray" not in pod.labels:
            continue
        for policy in _policies_of(pod, resources):
            for rule in policy["spec"].get("ingress", []):
                inside = all(
                    peer.get("podSelector") == {"matchLabels": {"winnow/ray": "ranker"}} for peer in rule["from"]
                )
                ports = [each["port"] for each in rule.get("ports", [])]
                known = _namespaces(rule) <= {MONITORING, OPERATOR_OF_RAY} and _namespaces(rule)
                if not inside and not known and ports != ["grpc"]:
                    yield f"{pod}: {policy['metadata']['name']} opens {ports or 'every port'}"
        front = [each for each in pod.containers() if any(port["name"] == "grpc" for port in each.get("ports", []))]
        if pod.name != HEAD and [each["name"] for each in front] != ["front"]:
            yield f"{pod}: callers do not come to the front"


def callers_reach_whom_they_call(resources: Sequence[Resource]) -> Iterator[str]:
    """Each address in the settings is a Service, its port a pod's, and both NetworkPolicies let the call through."""
    by_name = {pod.labels.get("app.kubernetes.io/name"): pod for pod in pods(resources)}
    for variable, address in settings(resources).items():
        caller = _caller(variable)
        host, _, port = address.rpartition(":")
        if not caller or not variable.endswith("_ADDRESS") or not host.startswith("winnow-"):
            continue
        service = named(resources, "Service", host)
        if int(port) not in [each["port"] for each in service["spec"]["ports"]]:
            yield f"{variable}={address}: Service {host} has no such port"
        if not _lets_in(by_name[host], caller, resources):
            yield f"{variable}={address}: {host} does not let {caller} in"
        if not _lets_out(by_name[caller], host, resources):
            yield f"{variable}={address}: {caller} is not let out to {host}"


def services_have_pods(resources: Sequence[Resource]) -> Iterator[str]:
    """A Service's selector and target ports are those of pods."""
    for service in of_kind(resources, "Service"):
        selected = [pod for pod in pods(resources) if service["spec"]["selector"].items() <= pod.labels.items()]
        open_ports = {port["name"] for pod in selected for each in pod.containers() for port in each.get("ports", [])}
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in open_ports:
                yield f"Service {service['metadata']['name']}: no pod has a port {port['targetPort']}"


def disruptions_are_bounded(resources: Sequence[Resource]) -> Iterator[str]:
    """Each service has a PodDisruptionBudget, which neither lets all pods go at once nor keeps a node for ever."""
    for pod in pods(resources):
        if pod.batch or pod.name == HEAD:
            continue
        budgets = [
            each["spec"]
            for each in of_kind(resources, "PodDisruptionBudget")
            if each["spec"]["selector"]["matchLabels"].items() <= pod.labels.items()
        ]
        if len(budgets) != 1:
            yield f"{pod}: has {len(budgets)} PodDisruptionBudgets"
        elif budgets[0].get("maxUnavailable") != 1 and not (
            pod.name.startswith("winnow-ranker") and budgets[0].get("minAvailable") == 1
        ):
            yield f"{pod}: its PodDisruptionBudget allows {budgets[0].get('maxUnavailable')} to go"


RULES: tuple[Rule, ...] = (
    nothing_is_open_by_default,
    every_pod_has_a_policy,
    the_ranker_is_reached_through_its_front_only,
    callers_reach_whom_they_call,
    services_have_pods,
    disruptions_are_bounded,
)


def _policies_of(pod: Pod, resources: Sequence[Resource]) -> list[Resource]:
    return [
        each
        for each in of_kind(resources, "NetworkPolicy")
        if each["spec"]["podSelector"] and each["spec"]["podSelector"]["matchLabels"].items() <= pod.labels.items()
    ]


def _namespaces(rule: dict[str, Any]) -> set[str]:
    return {
        peer.get("namespaceSelector", {}).get("matchLabels", {}).get("kubernetes.io/metadata.name", "")
        for peer in rule.get("from", [])
    }


def _caller(variable: str) -> str:
    names = ("candidate-generation", "recommendation", "feature", "feedback", "ranking")
    return next(
        (f"winnow-{name}" for name in names if variable.startswith(f"WINNOW_{name.replace('-', '_').upper()}_")), ""
    )


def _lets_in(pod: Pod, caller: str, resources: Sequence[Resource]) -> bool:
    return any(_names(peer, caller) for each in _policies_of(pod, resources)
               for rule in each["spec"].get("ingress", []) for peer in rule.get("from", []))  # fmt: skip


def _lets_out(pod: Pod, callee: str, resources: Sequence[Resource]) -> bool:
    return any(_names(peer, callee) for each in _policies_of(pod, resources)
               for rule in each["spec"].get("egress", []) for peer in rule.get("to", []))  # fmt: skip


def _names(peer: dict[str, Any], name: str) -> bool:
    return bool(peer.get("podSelector") == {"matchLabels": {"app.kubernetes.io/name": name}})
