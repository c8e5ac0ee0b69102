"""The last layers of a text encoder as a training has tuned them: a file of the bundle, and an encoder of its own.

The rest of the encoder stays as it came, so a bundle carries a few megabytes instead of a whole model. Other layers are
another encoder: its id is the frozen one's with a hash of the layers behind it, and by that id vectors are cached, told
apart on their way between services, and known to the item towers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.model.bundle import Bundle, BundleError, open_bundle, write_arrays
from shared.model.content import TUNED
from shared.model.registry import Registry

LAYERS_FILE = "text-encoder.safetensors"
_BASE = "base_id"


@dataclass(frozen=True, eq=False)
class TunedLayers:
    """Weights that replace those of a frozen encoder.

    Attributes:
        base_id: of the encoder that they belong to.
        weights: by the number of the block and the name inside it, e.g. `5.output.dense.weight`.
    """

    base_id: str
    weights: Mapping[str, npt.NDArray[np.float32]]

    @cached_property
    def encoder_id(self) -> str:
        """Of the encoder with these layers."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(self.weights[name]).tobytes())
        return f"{self.base_id}{TUNED}{digest.hexdigest()[:12]}"

    def save(self, folder: Path) -> None:
        """Write them into a bundle's folder."""
        base = np.frombuffer(self.base_id.encode(), np.uint8)
        write_arrays(folder / LAYERS_FILE, {_BASE: base, **self.weights})

    @classmethod
    def load(cls, bundle: Bundle) -> TunedLayers | None:
        """Those of a bundle; None when its texts were read by an encoder as it came.

        Raises:
            BundleError: the file does not say which encoder it belongs to.
        """
        if all(entry.name != LAYERS_FILE for entry in bundle.manifest.files):
            return None
        arrays = bundle.arrays(LAYERS_FILE)
        if _BASE not in arrays:
            raise BundleError(f"{bundle.path.name}/{LAYERS_FILE}: does not name its encoder; train a new bundle")
        base_id = arrays.pop(_BASE).tobytes().decode(errors="replace")
        return cls(base_id, arrays)


def served_layers(registry: Registry, cache: Path) -> TunedLayers | None:
    """Those of the bundle that a registry serves; None when there is none, or it has none.

    Args:
        registry: of the bundles.
        cache: for a local copy.

    Raises:
        BundleError: the bundle is damaged.
        RegistryError: the registry cannot be read.
    """
    if not (version := registry.current()):
        return None
    if all(entry.name != LAYERS_FILE for entry in registry.manifest(version).files):
        return None  # most bundles: nothing is fetched
    return TunedLayers.load(open_bundle(registry.fetch(version, cache)))
