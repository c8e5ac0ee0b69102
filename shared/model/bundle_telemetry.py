"""What is told of the bundle in use: its version, its age, and what its index was measured to find."""

from __future__ import annotations

from typing import Final

from shared.kernel.telemetry import Label, gauge
from shared.model.manifest import Manifest

BUNDLE_INFO: Final = gauge("bundle_info", "1 for the bundle in use.", [Label.COMPONENT, Label.VERSION])
BUNDLE_CREATED: Final = gauge(
    "bundle_created_seconds", "When the bundle in use was made, Unix time.", [Label.COMPONENT]
)
INDEX_RECALL: Final = gauge(
    "bundle_index_recall", "Share of the exact nearest items that its index found when it was made.", [Label.COMPONENT]
)
INDEX_GATE: Final = "index_recall"

_versions: dict[str, str] = {}


def tell_bundle(component: str, manifest: Manifest) -> None:
    """A component (a service's name) uses this bundle from now on."""
    if (old := _versions.get(component)) not in {None, manifest.version}:
        BUNDLE_INFO.remove(component, old)
    _versions[component] = manifest.version
    BUNDLE_INFO.labels(component, manifest.version).set(1)
    BUNDLE_CREATED.labels(component).set(manifest.created_ms / 1000)
    for gate in manifest.gates:
        if gate.name == INDEX_GATE:
            INDEX_RECALL.labels(component).set(gate.measured)
