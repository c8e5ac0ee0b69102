"""The same scores wherever and however precisely the network runs."""

from __future__ import annotations

import numpy as np

from shared.model.execution import Execution
from shared.model.ranker import RankerModel
from tests.unit.model import networks

MODEL = networks.ranker()
BFLOAT_TOLERANCE = 0.03
"""Of a probability: bfloat16 keeps 8 bits of each factor, and logits of this network reach 10."""


def test_bfloat16_gives_the_scores_of_float32_within_its_precision() -> None:
    coarse = RankerModel(MODEL.parts, execution=Execution(precision="bfloat16"))
    requests = [networks.request(seed, 5 * seed, 40) for seed in range(8)]

    for result, exact in zip(coarse.score(requests), MODEL.score(requests), strict=True):
        assert np.abs(result.probabilities - exact.probabilities).max() < BFLOAT_TOLERANCE
        assert result.probabilities.dtype == np.float32
        assert not np.array_equal(result.probabilities, exact.probabilities), "nothing was computed more coarsely"


def test_bfloat16_keeps_a_users_scores_the_same_in_company_and_from_the_cache() -> None:
    coarse = RankerModel(MODEL.parts, execution=Execution(precision="bfloat16", cache_bytes=1 << 24))
    requests = [networks.request(seed, 5 * seed, 40) for seed in range(4)]
    together = coarse.score(requests)

    for request, result in zip(requests, together, strict=True):
        (alone,) = coarse.score([request])
        assert np.abs(result.probabilities - alone.probabilities).max() < BFLOAT_TOLERANCE
