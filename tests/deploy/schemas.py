"""Whether a resource is one that Kubernetes would take: its kinds by their published schemas, others by their CRD's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

from tests.deploy.manifests import Resource

VERSIONS = ("1.34", "1.37")
"""The oldest that has everything we use (preStop sleep and pods that matter to a Job) for good, and the newest."""


def broken(resource: Resource, version: str) -> str:
    """Why Kubernetes would refuse a resource of its own kinds, else "". An unknown kind is refused, too."""
    try:
        kubernetes_validate.validate(resource, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{resource['kind']} {resource['metadata']['name']}: {'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        return f"{resource['kind']} {resource['metadata']['name']}: there is no kind {resource['kind']}"
    return ""


class CustomKinds:
    """The kinds that CustomResourceDefinitions define.

    Args:
        folder: of the definitions, as they are published.
    """

    def __init__(self, folder: Path) -> None:
        definitions = [yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted(folder.glob("*.yaml"))]
        self._schemas = {
            (each["spec"]["names"]["kind"], f"{each['spec']['group']}/{version['name']}"): _closed(
                version["schema"]["openAPIV3Schema"]
            )
            for each in definitions
            for version in each["spec"]["versions"]
        }

    def knows(self, resource: Resource) -> bool:
        """Whether one of the definitions is of this kind and version."""
        return (resource["kind"], resource["apiVersion"]) in self._schemas

    def broken(self, resource: Resource) -> Iterator[str]:
        """Everything for which a server with these definitions would refuse the resource."""
        schema = self._schemas[resource["kind"], resource["apiVersion"]]
        for error in Draft202012Validator(schema).iter_errors(resource):
            yield f"{resource['kind']} {resource['metadata']['name']}: {error.json_path}: {error.message[:300]}"


def _closed(schema: Any) -> Any:
    """The schema as a strict server applies it: what it does not name is refused, what it fills in is not missing."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _closed(value) for name, value in schema.items()}
    properties = made.get("properties")
    if isinstance(properties, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if isinstance(made.get("required"), list) and isinstance(properties, dict):
        made["required"] = [each for each in made["required"] if "default" not in properties.get(each, {})]
    if made.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    return made
