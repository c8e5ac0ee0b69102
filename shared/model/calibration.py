"""What turns the ranker's numbers into probabilities and ratings: fitted after its weights, kept beside them.

A actions, K features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.model.bundle import Bundle, write_arrays
from shared.model.scaler import Scaler

CALIBRATION_FILE = "calibration.safetensors"

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What turns the network's numbers into probabilities and ratings.

    Attributes:
        scaler: of the knowledge features.
        scales, offsets: (A,) probability = sigmoid(scale · logit + offset).
        value_mean, value_spread: rating = mean + spread · the network's; spread 0 = the training data had no values.
    """

    scaler: Scaler
    scales: Floats
    offsets: Floats
    value_mean: float
    value_spread: float

    @classmethod
    def load(cls, bundle: Bundle) -> Calibration:
        """Open that of a bundle."""
        arrays = bundle.arrays(CALIBRATION_FILE)
        mean, spread = arrays["values"].tolist()
        return cls(Scaler(arrays["mean"], arrays["gain"]), arrays["scales"], arrays["offsets"], mean, spread)

    def save(self, folder: Path) -> None:
        """Write it into a bundle's folder."""
        values = np.array([self.value_mean, self.value_spread], np.float32)
        arrays = {"mean": self.scaler.mean, "gain": self.scaler.gain, "scales": self.scales, "offsets": self.offsets}
        write_arrays(folder / CALIBRATION_FILE, {**arrays, "values": values})
