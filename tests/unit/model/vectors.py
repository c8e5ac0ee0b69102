"""Vectors for tests."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def unit_vectors(seed: int, count: int, width: int) -> npt.NDArray[np.float32]:
    """(count, width) random unit vectors in a few clusters, as item vectors are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((8, width))
    vectors = centres[random.integers(0, 8, count)] + random.standard_normal((count, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)
