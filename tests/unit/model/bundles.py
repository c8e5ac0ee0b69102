"""A small valid bundle to break in many ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.model.bundle import ITEMS, write_arrays, write_bundle, write_strings
from shared.model.manifest import GateResult, Holdout, Manifest, ManifestFacts

ITEM_IDS = ("film-1", "film-2", "line\u2028separator", "tab\tid")


def facts(created_ms: int = 1_700_000_000_000, **changes: object) -> ManifestFacts:
    """What a trainer knows, with changes."""
    known: dict[str, object] = {
        "created_ms": created_ms,
        "seed": 7,
        "data_name": "toy",
        "trained_events": 12,
        "trained_until_ms": created_ms,
        "holdout": Holdout(split="none"),
        "serve_order": "ranker",
        "actions": (2,),
        "search_k": 100,
        "retriever": {},
        "ranker": {},
        "index": {},
        "training": {},
        "metrics": {"two_stage_ndcg@10": 0.1},
        "gates": (),
    }
    return ManifestFacts.model_validate(known | changes)


def failed_gate() -> GateResult:
    """A blocking gate that was not passed."""
    return GateResult(name="index_recall", passed=False, measured=0.5, required=0.9, detail="of the nearest 10")


def write_toy_bundle(folder: Path, created_ms: int = 1_700_000_000_000, **changes: object) -> Manifest:
    """Write a sealed bundle of a vocabulary and one array."""
    folder.mkdir(parents=True, exist_ok=True)
    write_strings(folder / ITEMS, ITEM_IDS)
    write_arrays(folder / "numbers.safetensors", {"numbers": np.arange(64, dtype=np.float32)})
    return write_bundle(folder, facts(created_ms, **changes))
