"""What every pod of Winnow must be like. A rule gives the faults that it sees, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tests.deploy.manifests import Pod, Resource, of_kind, pods, settings

CLOSE_SECONDS = 5.0
"""WINNOW_RECOMMENDATION_CLOSE_SECONDS by default: the last slates."""
WRITABLE = {"/data", "/tmp", "/dev/shm"}  # noqa: S108 - mount points, not files
HEAD = "winnow-ranker head"

Rule = Callable[[Sequence[Resource]], Iterator[str]]


def never_root(resources: Sequence[Resource]) -> Iterator[str]:
    """Pods run as a user without rights."""
    for pod in pods(resources):
        asked = [pod.spec.get("securityContext", {}), *(each.get("securityContext", {}) for each in pod.containers())]
        if asked[0].get("runAsNonRoot") is not True or any(each.get("runAsNonRoot") is False for each in asked):
            yield f"{pod}: may run as root"
        if any(each.get("runAsUser") == 0 for each in asked) or not asked[0].get("runAsUser"):
            yield f"{pod}: has no user other than 0"


def cannot_become_more(resources: Sequence[Resource]) -> Iterator[str]:
    """No container can get rights that it was not started with."""
    for pod, container in _containers(resources):
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            yield f"{pod}, {container['name']}: may get more rights"
        capabilities = context.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or capabilities.get("add"):
            yield f"{pod}, {container['name']}: keeps capabilities"


def cannot_reach_the_node(resources: Sequence[Resource]) -> Iterator[str]:
    """Pods share nothing with their node, and ask the kernel only for what the runtime lets through."""
    for pod in pods(resources):
        if pod.spec.get("securityContext", {}).get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{pod}: asks the kernel for whatever it likes"
        if any(pod.spec.get(each) for each in ("hostNetwork", "hostPID", "hostIPC")):
            yield f"{pod}: shares the node's network or processes"
        if any("hostPath" in volume for volume in pod.spec.get("volumes", [])):
            yield f"{pod}: mounts a path of the node"


def write_only_where_they_may(resources: Sequence[Resource]) -> Iterator[str]:
    """Images, settings, secrets and certificates cannot be changed by what runs; bundles only by the trainer."""
    for pod, container in _containers(resources):
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield f"{pod}, {container['name']}: can write to its image"
        writable = {each["mountPath"] for each in container.get("volumeMounts", []) if not each.get("readOnly")}
        allowed = WRITABLE | ({"/registry"} if pod.name == "winnow-trainer" else set())
        if more := writable - allowed:
            yield f"{pod}, {container['name']}: can write to {', '.join(sorted(more))}"


def have_room_for_what_is_temporary(resources: Sequence[Resource]) -> Iterator[str]:
    """Images cannot be written to, so each container has a folder on /tmp: servers keep a socket of their own there."""
    for pod, container in _containers(resources):
        passing = {each["name"] for each in pod.spec.get("volumes", []) if "emptyDir" in each}
        places = {
            each["mountPath"]
            for each in container.get("volumeMounts", [])
            if each["name"] in passing and not each.get("readOnly")
        }
        if "/tmp" not in places:  # noqa: S108 - a mount point, no file
            yield f"{pod}, {container['name']}: has no emptyDir on /tmp"


def hold_no_token(resources: Sequence[Resource]) -> Iterator[str]:
    """No pod can talk to Kubernetes; Ray's head alone must, whose autoscaler asks for pods."""
    for pod in pods(resources):
        if pod.name != HEAD and pod.spec.get("automountServiceAccountToken") is not False:
            yield f"{pod}: holds a token of Kubernetes"


def are_limited(resources: Sequence[Resource]) -> Iterator[str]:
    """Every container says what it needs and gets no more; of memory exactly what it asked for."""
    for pod, container in _containers(resources):
        asked = container.get("resources", {})
        requests, limits = asked.get("requests", {}), asked.get("limits", {})
        if not {"cpu", "memory"} <= requests.keys() or not {"cpu", "memory"} <= limits.keys():
            yield f"{pod}, {container['name']}: requests and limits must name cpu and memory"
        elif requests["memory"] != limits["memory"]:
            yield f"{pod}, {container['name']}: may use memory that the node has not kept for it"


def run_known_images(resources: Sequence[Resource]) -> Iterator[str]:
    """Images are named by a version."""
    for pod, container in _containers(resources):
        image = str(container["image"])
        tag = image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in image and tag in ("", "latest"):
            yield f"{pod}, {container['name']}: {image} may be another image tomorrow"


def are_probed(resources: Sequence[Resource]) -> Iterator[str]:
    """What runs on is asked whether it started, lives and is ready; restarts never hang on readiness."""
    for pod in pods(resources):
        for container in [] if pod.batch else pod.spec["containers"]:
            probes = [container.get(f"{each}Probe") for each in ("startup", "liveness", "readiness")]
            if not all(probes):
                yield f"{pod}, {container['name']}: is not asked for all of startup, liveness and readiness"
            for probe in filter(None, probes[:2]):
                if "grpc" in probe and probe["grpc"].get("service") != "live":
                    yield f"{pod}, {container['name']}: is restarted for not being ready"


def drain_in_time(resources: Sequence[Resource]) -> Iterator[str]:
    """From the deletion of a pod to the end of its process less time passes than Kubernetes gives."""
    given = settings(resources)
    drain = (int(given["WINNOW_LIMIT_LAME_DUCK_MS"]) + int(given["WINNOW_LIMIT_DRAIN_GRACE_MS"])) / 1000
    for pod in pods(resources):
        if pod.batch or pod.name == HEAD:
            continue
        for container in pod.spec["containers"]:
            before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds")
            if before is None:
                yield f"{pod}, {container['name']}: stops while others still call it"
            elif before + drain + CLOSE_SECONDS >= pod.spec.get("terminationGracePeriodSeconds", 30):
                yield f"{pod}, {container['name']}: is killed before it has drained"


def spread_over_nodes(resources: Sequence[Resource]) -> Iterator[str]:
    """Pods of one service stand on different nodes; the log's single writer has nothing to spread."""
    for pod in pods(resources):
        keys = {each["topologyKey"] for each in pod.spec.get("topologySpreadConstraints", [])}
        alone = pod.batch or pod.name in ("winnow-feedback", HEAD)
        if not alone and "kubernetes.io/hostname" not in keys:
            yield f"{pod}: all of them may stand on one node"
        for each in pod.spec.get("topologySpreadConstraints", []):
            if not each["labelSelector"]["matchLabels"].items() <= pod.labels.items():
                yield f"{pod}: is spread by the labels of other pods"


def take_settings_only_by_hash(resources: Sequence[Resource]) -> Iterator[str]:
    """ConfigMaps never change under a running pod, and those that pods name are there."""
    made = {each["metadata"]["name"] for each in of_kind(resources, "ConfigMap")}
    for each in of_kind(resources, "ConfigMap"):
        if each.get("immutable") is not True:
            yield f"ConfigMap {each['metadata']['name']}: may change under a running pod"
    for pod, container in _containers(resources):
        for source in container.get("envFrom", []):
            if source["configMapRef"]["name"] not in made:
                yield f"{pod}, {container['name']}: there is no {source['configMapRef']['name']}"
    for pod in pods(resources):
        for volume in pod.spec.get("volumes", []):
            if "configMap" in volume and volume["configMap"]["name"] not in made:
                yield f"{pod}: there is no {volume['configMap']['name']}"


def keep_secrets_in_files(resources: Sequence[Resource]) -> Iterator[str]:
    """A secret in the environment is in every crash report; and none is in a manifest."""
    for pod, container in _containers(resources):
        if any("secretKeyRef" in each.get("valueFrom", {}) for each in container.get("env", [])):
            yield f"{pod}, {container['name']}: has a secret in its environment"
        if any("secretRef" in each for each in container.get("envFrom", [])):
            yield f"{pod}, {container['name']}: has a secret in its environment"
    for each in of_kind(resources, "Secret"):
        yield f"Secret {each['metadata']['name']}: stands in a manifest"


def mount_what_their_settings_name(resources: Sequence[Resource]) -> Iterator[str]:
    """Files that settings name lie where something is mounted."""
    for pod in pods(resources):
        for container in pod.spec["containers"]:
            if not any(
                each["configMapRef"]["name"].startswith("winnow-settings") for each in container.get("envFrom", [])
            ):
                continue
            secrets = {item["path"] for volume in pod.spec["volumes"] if volume["name"] == "secrets"
                       for item in volume["secret"]["items"]}  # fmt: skip
            own = pod.name.removeprefix("winnow-").replace("-", "_").upper()
            for variable, path in settings(resources).items():
                read = variable.startswith(("WINNOW_LOG_", f"WINNOW_{own}_"))
                if read and path.startswith("/secrets/") and path.removeprefix("/secrets/") not in secrets:
                    yield f"{pod}: {variable} names {path}, which is not mounted"


RULES: tuple[Rule, ...] = (
    never_root,
    cannot_become_more,
    cannot_reach_the_node,
    write_only_where_they_may,
    have_room_for_what_is_temporary,
    hold_no_token,
    are_limited,
    run_known_images,
    are_probed,
    drain_in_time,
    spread_over_nodes,
    take_settings_only_by_hash,
    keep_secrets_in_files,
    mount_what_their_settings_name,
)


def _containers(resources: Sequence[Resource]) -> Iterator[tuple[Pod, Resource]]:
    for pod in pods(resources):
        for container in pod.containers():
            yield pod, container
