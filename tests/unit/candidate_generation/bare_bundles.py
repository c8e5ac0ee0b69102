"""Bundles that are sealed well and hold a vocabulary of one item, and nothing that could serve."""

from __future__ import annotations

from pathlib import Path

from shared.model.bundle import ITEMS, write_bundle, write_strings
from shared.model.manifest import Holdout, ManifestFacts
from shared.model.registry import Registry


def publish_bare(registry: Registry, folder: Path, item_id: str, created_ms: int) -> str:
    """Make one in a new folder and publish it; gives its version."""
    folder.mkdir()
    write_strings(folder / ITEMS, (item_id,))
    write_bundle(folder, _facts(created_ms))
    return registry.publish(folder)


def _facts(created_ms: int) -> ManifestFacts:
    return ManifestFacts(
        created_ms=created_ms, seed=1, data_name="one item", trained_events=0, trained_until_ms=0,
        holdout=Holdout(split="none"), serve_order="retrieval", actions=(), search_k=1, retriever={}, ranker={},
        index={}, training={}, metrics={}, gates=(),
    )  # fmt: skip
