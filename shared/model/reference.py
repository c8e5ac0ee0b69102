"""How what the ranker saw and said was distributed when it was trained: what serving is compared with.

Each quantity is cut into at most `BINS` bins that hold about as much of the training each. An edge stands between two
values that occurred, so that flags and small counts, and a last digit that was rounded, always fall into the same bin.

n values, B bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.model.bundle import Bundle, write_arrays

REFERENCE_FILE = "reference.safetensors"
BINS = 10
_LEAST_SHARE = 1e-3  # of an empty bin: its logarithm must be finite

Floats = npt.NDArray[np.float32]


def probability_name(event: str) -> str:
    """What the probabilities of a kind of event are called, beside the features."""
    return f"probability_{event}"


@dataclass(frozen=True, slots=True)
class Distribution:
    """One quantity.

    Attributes:
        edges: (B - 1,) float32, rising; a bin holds its upper edge.
        shares: (B,) float32, sum 1.
    """

    edges: Floats
    shares: Floats

    @classmethod
    def of(cls, values: Floats) -> Distribution:
        """That of at least one value."""
        known = np.unique(values.astype(np.float32))
        places = np.linspace(0, 1, BINS + 1)[1:-1]
        cuts = np.unique(np.searchsorted(known, np.quantile(values, places, method="inverted_cdf")))
        cuts = cuts[cuts < len(known) - 1]
        edges = ((known[cuts] + known[cuts + 1]) / 2).astype(np.float32)
        return cls(edges, _shares(edges, values))

    def shares_of(self, values: Floats) -> Floats:
        """(B,) the shares of other values in these bins."""
        return _shares(self.edges, values)

    def stability(self, shares: npt.NDArray[np.floating]) -> float:
        """The population stability index of (B,) shares: Σ (now - then) · ln(now / then); 0 = as in training."""
        now, then = np.maximum(shares, _LEAST_SHARE), np.maximum(self.shares, _LEAST_SHARE)
        return float(np.sum((now - then) * np.log(now / then)))


@dataclass(frozen=True, slots=True)
class Reference:
    """The distributions by name."""

    distributions: Mapping[str, Distribution]

    @classmethod
    def load(cls, bundle: Bundle) -> Reference | None:
        """That of a bundle; None when it was trained by a release that kept none."""
        if all(entry.name != REFERENCE_FILE for entry in bundle.manifest.files):
            return None
        arrays = bundle.arrays(REFERENCE_FILE)
        names = sorted(name.removeprefix("edges:") for name in arrays if name.startswith("edges:"))
        return cls({name: Distribution(arrays[f"edges:{name}"], arrays[f"shares:{name}"]) for name in names})

    def save(self, folder: Path) -> None:
        """Write it into a bundle's folder."""
        arrays = {f"edges:{name}": each.edges for name, each in self.distributions.items()}
        shares = {f"shares:{name}": each.shares for name, each in self.distributions.items()}
        write_arrays(folder / REFERENCE_FILE, arrays | shares)


def _shares(edges: Floats, values: Floats) -> Floats:
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return (counts / len(values)).astype(np.float32)
