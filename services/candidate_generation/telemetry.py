"""What candidate generation measures, beyond what the kernel measures of every service."""

from __future__ import annotations

from typing import Final

from shared.kernel.telemetry import counter, gauge, histogram

BUNDLES_INSTALLED: Final = counter("candidate_generation_bundles_installed", "Bundles that were swapped in.")
BUNDLES_REFUSED: Final = counter("candidate_generation_bundles_refused", "Bundles that could not be used.")
CATALOGUE_ITEMS: Final = gauge("candidate_generation_catalogue_items", "Living items in the catalogue.")
LIVE_RECALL: Final = histogram(
    "candidate_generation_index_recall",
    "Share of the truly nearest items among those that the index found for a real request.",
    buckets=(0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99, 1),
)
ENCODED_ITEMS: Final = counter("candidate_generation_encoded_items", "New or changed items that got a vector here.")
