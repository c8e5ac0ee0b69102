"""What the ranker measures beyond the kernel's metrics."""

from __future__ import annotations

from typing import Final

from shared.kernel.telemetry import Label, counter, gauge, histogram

FORWARD_SECONDS: Final = histogram("ranker_forward_seconds", "Time of one forward pass.")
BATCH_REQUESTS: Final = histogram(
    "ranker_batch_requests", "Requests in one forward pass.", buckets=(1, 2, 4, 8, 16, 32, 64)
)
BATCH_CANDIDATES: Final = histogram(
    "ranker_batch_candidates", "Candidates in one forward pass.", buckets=(10, 50, 100, 200, 400, 800, 1600, 5000)
)
NOT_FINITE: Final = counter("ranker_not_finite", "Probabilities that were not finite and were set to 0.")
BUNDLES_INSTALLED: Final = counter("ranker_bundles_installed", "Bundles that were taken into use.")
BUNDLES_REFUSED: Final = counter("ranker_bundles_refused", "Bundles that could not be used.")
FEATURE_SHIFT: Final = gauge(
    "ranker_feature_shift",
    "How far the mean of a feature lies from its mean in training now, in deviations of training.",
    [Label.FEATURE],
)
FEATURE_SPREAD: Final = gauge(
    "ranker_feature_spread", "Deviation of a feature now, in deviations of training.", [Label.FEATURE]
)
POPULATION_STABILITY: Final = gauge(
    "ranker_population_stability",
    "Population stability index of a feature or a probability against training; above 0.25 they differ much.",
    [Label.FEATURE],
)
PROBABILITY: Final = gauge("ranker_probability", "Mean probability that candidates are given now.", [Label.EVENT])
