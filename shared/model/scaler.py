"""The ranker's external knowledge on one scale.

K features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_CLIP = 5.0
_TOGETHER = 4096

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scaler:
    """Features to mean 0 and deviation 1, cut at ±5; fitted on the training candidates.

    A feature that never varied there is silenced: the networks have not learned what another value of it means.

    Attributes:
        mean, gain: (K,) float32; gain is 1 / deviation, 0 for a silenced feature.
    """

    mean: Floats
    gain: Floats

    @classmethod
    def fit(cls, features: Floats) -> Scaler:
        """From (n, K) features."""
        deviation = features.std(axis=0, dtype=np.float64)
        gain = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0)
        return cls(features.mean(axis=0, dtype=np.float64).astype(np.float32), gain.astype(np.float32))

    def scaled(self, features: Floats) -> Floats:
        """(…, K) float32, finite."""
        scaled: Floats = np.clip(np.nan_to_num((features - self.mean) * self.gain), -_CLIP, _CLIP).astype(np.float32)
        return scaled

    def scaled_halves(self, features: npt.NDArray[np.float16]) -> npt.NDArray[np.float16]:
        """(Q, …, K) the same for many, some at a time: as 32 bits all of them would be twice as much."""
        scaled = np.empty_like(features)
        for start in range(0, len(features), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            scaled[part] = self.scaled(features[part].astype(np.float32))
        return scaled
