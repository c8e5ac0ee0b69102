"""A bundle without weights and a scorer that needs none: what the runtime does is seen without a model.

The scorer says how probable a click is by the place of an item in the bundle's vocabulary, so an answer shows which
bundle gave it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.domain.events import EventType
from shared.domain.ranking import RankingRequest, RankingResult
from shared.model.bundle import ITEMS, Bundle, BundleError, write_bundle, write_strings
from shared.model.manifest import Holdout, ManifestFacts
from shared.model.registry import Registry

TOY_FILE = "toy.jsonl"
ITEM_IDS = tuple(f"item-{number}" for number in range(500))


@dataclass(frozen=True, slots=True)
class ToyScorer:
    """Gives every item of the bundle the bundle's own probability."""

    version: str
    probability: float
    known: frozenset[str]

    def score(self, requests: Sequence[RankingRequest]) -> list[RankingResult]:
        """One probability a candidate: the bundle's own for known items, 0 for others."""
        return [self._score(request) for request in requests]

    def _score(self, request: RankingRequest) -> RankingResult:
        column = [self.probability if item_id in self.known else 0.0 for item_id in request.candidates.item_ids]
        probabilities = np.array(column, np.float32).reshape(-1, 1)
        return RankingResult((int(EventType.CLICK),), probabilities, np.empty(0, np.float32), None, self.version)


def load_toy(bundle: Bundle, _threads: int) -> ToyScorer:
    """Read the toy's one number; it says NaN-like things about itself when it is broken."""
    probability = json.loads(bundle.file(TOY_FILE).read_text(encoding="utf-8"))
    if not 0 <= probability <= 1:
        raise BundleError(f"{TOY_FILE}: {probability} is no probability")
    return ToyScorer(bundle.manifest.version, probability, frozenset(bundle.vocabulary.ids))


def store_toy(registry: Path, scratch: Path, probability: float, created_ms: int) -> str:
    """Write a toy bundle and store it in the registry, where nobody serves it yet; gives its version."""
    folder = scratch / f"toy-{created_ms}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_strings(folder / ITEMS, ITEM_IDS)
    (folder / TOY_FILE).write_text(json.dumps(probability), encoding="utf-8")
    write_bundle(folder, _facts(created_ms))
    return Registry(str(registry)).store(folder)


def _facts(created_ms: int) -> ManifestFacts:
    return ManifestFacts(
        created_ms=created_ms,
        seed=1,
        data_name="toy",
        trained_events=1,
        trained_until_ms=created_ms,
        holdout=Holdout(split="none"),
        serve_order="ranker",
        actions=(int(EventType.CLICK),),
        search_k=1,
        retriever={},
        ranker={},
        index={},
        training={},
        metrics={},
        gates=(),
    )
