"""A published bundle as a `Recommender`, and whether measuring it on a data set is honest.

Rows of the data set and of the bundle differ: everything is translated on the way in and out.
S users of a batch, I items of the data set, N items of the bundle.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.trainer.candidates import Quotas
from services.trainer.datasets import Dataset, DatasetError
from services.trainer.datasets_ragged import Ragged
from services.trainer.evaluation import Metrics, Requests, evaluate
from services.trainer.fingerprints import data_fingerprint
from services.trainer.moments import Moments
from services.trainer.presets import TrainingSettings
from services.trainer.splits import Split
from services.trainer.two_stage import Retrieval, Stage, TwoStage
from shared.domain.items import Item
from shared.domain.vocabulary import UNKNOWN_ROW
from shared.model.bundle import Bundle, open_bundle
from shared.model.manifest import Manifest
from shared.model.ranker import RankerModel
from shared.model.registry import Registry
from shared.model.retriever import RetrieverModel

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BundleRecommender:
    """A bundle that answers in the rows of a data set.

    Attributes:
        models: in the bundle's rows.
        to_bundle: (I,) the bundle's row of each item of the data set, -1 = it does not know it.
        to_dataset: (N,) the way back, -1 = not in the data set.
    """

    models: TwoStage
    to_bundle: Rows
    to_dataset: Rows

    @classmethod
    def of(cls, bundle: Bundle, dataset: Dataset, split: Split, stage: Stage, quotas: Quotas) -> BundleRecommender:
        """Open the models of a bundle; popularity and trend are counted on the split's train part."""
        retriever, ranker = RetrieverModel.load(bundle), RankerModel.load(bundle)
        to_dataset = dataset.items.rows(bundle.vocabulary.ids)
        to_bundle = bundle.vocabulary.rows(dataset.items.ids)
        details = tuple(
            dataset.item_details[row] if row != UNKNOWN_ROW else Item(item_id)
            for item_id, row in zip(bundle.vocabulary.ids, to_dataset.tolist(), strict=True)
        )
        rows = to_bundle[split.train.item_rows]
        known = rows != UNKNOWN_ROW
        counted = replace(split.train.take(known), item_rows=rows[known].astype(np.int32))
        profiles = retriever.encoding.profiles(dataset.user_details)
        retrieval = Retrieval(retriever, ranker.parts.knowledge, profiles)
        models = TwoStage(retrieval, ranker, Moments.of(counted, details), quotas, stage)
        return cls(models, to_bundle, to_dataset)

    @property
    def name(self) -> str:
        """For tables and files."""
        return self.models.name

    def recommend(self, requests: Requests, k: int) -> npt.NDArray[np.int32]:
        """(S, k) distinct unseen item rows of the data set, best first; -1 where there is no more."""
        lists = self.models.recommend(self.translated(requests), min(k, len(self.to_dataset)))
        back = np.where(lists >= 0, self.to_dataset[np.maximum(lists, 0)], -1).astype(np.int32)
        return np.pad(back, ((0, 0), (0, k - back.shape[1])), constant_values=-1)

    def translated(self, requests: Requests) -> Requests:
        """The same requests in the bundle's rows."""
        allowed = np.zeros(len(self.to_dataset), np.bool_)
        known = self.to_dataset != UNKNOWN_ROW
        allowed[known] = requests.catalogue[self.to_dataset[known]]
        return replace(
            requests,
            histories=Ragged(self.to_bundle[requests.histories.flat], requests.histories.offsets),
            seen=_known_only(Ragged(self.to_bundle[requests.seen.flat], requests.seen.offsets)),
            catalogue=allowed,
        )


def served_quality(bundle: Bundle, dataset: Dataset, split: Split) -> Metrics:
    """How a bundle does in the order that it is served with, under its version's name."""
    stage: Stage = "two-stage" if bundle.manifest.serve_order == "ranker" else bundle.manifest.serve_order
    recommender = BundleRecommender.of(bundle, dataset, split, stage, evaluation_settings(bundle.manifest))
    return replace(evaluate(recommender, split), name=bundle.manifest.version)


def evaluated_bundle(registry: Registry, version: str, cache: Path, dataset: Dataset, split: str) -> tuple[Bundle, str]:
    """The bundle whose measurement on this split is honest, and what to know about it.

    Args:
        registry: of the bundles.
        version: the one asked about; when it has seen the events, its sibling that has not is taken.
        cache: for local copies.
        dataset: that will be measured on.
        split: `leave-one-out` or `time`.

    Returns:
        The bundle, and a sentence for the reader ("" when nothing needs saying).

    Raises:
        DatasetError: the bundle has seen the events that it would be asked for, and there is no sibling.
    """
    bundle = open_bundle(registry.fetch(version, cache))
    note = ""
    if bundle.manifest.holdout.split == "none" and bundle.manifest.evaluation_version:
        sibling = bundle.manifest.evaluation_version
        bundle = open_bundle(registry.fetch(sibling, cache))
        note = f"measured on {sibling}, the same training without the held-out events that {version} has seen"
    return bundle, _checked(bundle.manifest, dataset, split) or note


def evaluation_settings(manifest: Manifest) -> Quotas:
    """The candidates by source that the bundle was measured with."""
    standard = TrainingSettings().serving_quotas
    names = tuple(Quotas.__dataclass_fields__)
    values = [manifest.training.get(f"serving_quotas.{name}", getattr(standard, name)) for name in names]
    return Quotas(*(int(value or 0) for value in values))


def _checked(manifest: Manifest, dataset: Dataset, split: str) -> str:
    if manifest.data_fingerprint != data_fingerprint(dataset):
        return (
            f"{manifest.version} was trained on other data ({manifest.data_name}); events that both hold are in-sample"
        )
    if manifest.holdout.split != split:
        raise DatasetError(
            f"bundle {manifest.version} was trained on events that the {split} split would ask for "
            f"(held out: {manifest.holdout.split}); train one with `winnow train --split {split}`"
        )
    return ""


def _known_only(rows: Ragged) -> Ragged:
    """Without the items that the bundle does not know."""
    known = rows.flat != UNKNOWN_ROW
    kept = np.bincount(rows.row_of_each()[known], minlength=len(rows))
    return Ragged(rows.flat[known], np.concatenate(([0], np.cumsum(kept))))
