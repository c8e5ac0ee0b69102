"""How many candidates are ranked under load: fewer as answers miss the latency target, more again as they meet it.

Every late answer lowers the factor and every other one raises it a little, in such a proportion that the two balance
exactly where the chosen percentile of the latency meets the target (stochastic approximation of a quantile, Robbins &
Monro 1951). The factor may rise somewhat above 1, so that a few late answers on a healthy day cost nothing.
"""

from __future__ import annotations

import math

from services.recommendation.telemetry import QUALITY_FACTOR

STEP = 0.1
"""Speed: a late answer lowers the factor by the percentile times this."""

LEAST, MOST = 0.05, 1.5


class QualityFactor:
    """The share of the candidates that is ranked.

    Args:
        target_ms: latency target; 0 = none.
        percentile: of the answers that shall meet it, between 0 and 1.
    """

    def __init__(self, target_ms: float, percentile: float) -> None:
        self._target_ms = target_ms
        self._percentile = percentile
        self._factor = MOST
        QUALITY_FACTOR.set(self.share)

    @property
    def share(self) -> float:
        """The share as it is now, at most 1."""
        return min(1.0, self._factor)

    def learn(self, duration_ms: float) -> None:
        """An answer took so long."""
        if not self._target_ms:
            return
        late = duration_ms > self._target_ms
        self._factor *= math.exp(STEP * ((1 - self._percentile) - late))
        self._factor = min(MOST, max(LEAST, self._factor))
        QUALITY_FACTOR.set(self.share)
