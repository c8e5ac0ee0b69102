"""From trained models to bundles: build and tune the index, judge, write, and publish or keep aside."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from services.trainer.datasets import Dataset, Interactions
from services.trainer.evaluation import Metrics, batches
from services.trainer.fingerprints import data_fingerprint
from services.trainer.gates import as_good_as, gates, serve_order
from services.trainer.presets import TrainingSettings
from services.trainer.splits import Split
from services.trainer.training import TrainedModels
from services.trainer.two_stage import TwoStage, as_requests, user_vectors
from shared.kernel.clock import Clock
from shared.model.bundle import ITEMS, write_bundle, write_strings
from shared.model.encoding import save_scale
from shared.model.index import AnnoyItemIndex, IndexTuning, tune
from shared.model.item_tower import save_table
from shared.model.manifest import GateResult, Holdout, Manifest, ManifestFacts, SettingValue
from shared.model.registry import Registry

TUNING_USERS = 200


@dataclass(frozen=True, slots=True)
class Publication:
    """What was published.

    Attributes:
        version: of the bundle that is served now, or that was kept aside.
        evaluation_version: of the one that evaluations use; the same when nothing was trained after measuring.
        published: False when a gate failed and the bundle was kept aside.
        manifest: of the bundle.
    """

    version: str
    evaluation_version: str
    published: bool
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Publisher:
    """Writes bundles of one training.

    Attributes:
        dataset: that was learned from.
        settings: of the training.
        registry: where bundles go.
        watermark: position of the event log that the data includes; "" for files.
        clock: Unix milliseconds.
        before: how the bundle that is to be replaced did on the test requests; None: nothing to compare with.
        on_slates: the comparison with it on served slates; None: there is none.
    """

    dataset: Dataset
    settings: TrainingSettings
    registry: Registry
    watermark: str
    clock: Clock
    before: Metrics | None = None
    on_slates: GateResult | None = None

    def publish(self, trained: TrainedModels) -> Publication:
        """Publish what is served, and store the measured models beside it.

        A bundle that fails a blocking gate is kept aside with its report; the served one stays.
        """
        held_out = _holdout(self.dataset, trained.measured_events, self.settings)
        measured = self._store(trained, trained.measured, trained.measured_events, held_out, "")
        if trained.served is trained.measured or not measured.manifest.publishable:
            return self._served(measured, measured.manifest.version)
        everything = Holdout(split="none")
        sibling = measured.manifest.version
        with measured.folder:
            self.registry.store(measured.path)
        served = self._store(trained, trained.served, self.dataset.interactions, everything, sibling)
        return self._served(served, sibling)

    def _served(self, written: _Written, sibling: str) -> Publication:
        manifest = written.manifest
        with written.folder:
            if manifest.publishable:
                self.registry.publish(written.path)
            else:
                failed = [gate.model_dump() for gate in manifest.gates if not gate.passed]
                self.registry.reject(written.path, {"version": manifest.version, "failed": failed})
        return Publication(manifest.version, sibling, manifest.publishable, manifest)

    def _store(
        self, trained: TrainedModels, models: TwoStage, events: Interactions, holdout: Holdout, sibling: str
    ) -> _Written:
        folder = tempfile.TemporaryDirectory(prefix="winnow-bundle-")
        path = Path(folder.name)
        index, tuning = _tuned(models, trained.test_split, self.settings)
        _write_files(path, models, index)
        if self.dataset.tuned_text is not None:
            self.dataset.tuned_text.save(path)
        judged = gates(trained.validation, tuning, _finite_share(models))
        if self.before is not None:
            judged = (*judged, as_good_as(self.before, _as_served(trained)))
        if self.on_slates is not None:
            judged = (*judged, self.on_slates)
        facts = self._facts(trained, events, judged).model_copy(
            update={"holdout": holdout, "evaluation_version": sibling, "index": asdict(tuning),
                    "search_k": tuning.search_k, "actions": models.ranker.actions}
        )  # fmt: skip
        return _Written(folder, path, write_bundle(path, facts))

    def _facts(self, trained: TrainedModels, events: Interactions, judged: tuple[GateResult, ...]) -> ManifestFacts:
        shape = self.settings.shape.model_dump()
        return ManifestFacts.model_validate({
            "created_ms": self.clock(),
            "watermark": self.watermark,
            "seed": self.settings.seed,
            "data_name": self.dataset.name,
            "data_fingerprint": data_fingerprint(self.dataset),
            "trained_events": len(events),
            "trained_until_ms": round(float(events.times_s[-1]) * 1000) if len(events) else 0,
            "holdout": {"split": "none"},
            "serve_order": serve_order(trained.validation),
            "actions": (),
            "search_k": 1,
            "retriever": shape,
            "ranker": shape,
            "index": {},
            "training": _flat(asdict(self.settings)),
            "metrics": _metrics(trained),
            "gates": judged,
        })  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Written:
    folder: tempfile.TemporaryDirectory[str]
    path: Path
    manifest: Manifest


def _tuned(models: TwoStage, split: Split, settings: TrainingSettings) -> tuple[AnnoyItemIndex, IndexTuning]:
    """An index for the users that will ask: those of the test, as far as they are needed."""
    asked = split.sampled(TUNING_USERS, np.random.default_rng(settings.seed))
    (requests,) = batches(asked, max(1, len(asked)))
    retriever = models.retrieval.model
    users = user_vectors(retriever, as_requests(requests, retriever, models.retrieval.profiles).histories)
    return tune(models.retrieval.knowledge.vectors, users, settings.recall_k, settings.recall_target, settings.seed)


def _write_files(folder: Path, models: TwoStage, index: AnnoyItemIndex) -> None:
    retriever, knowledge = models.retrieval.model, models.retrieval.knowledge
    write_strings(folder / ITEMS, retriever.vocabulary.ids)
    retriever.encoding.save(folder)
    save_table(retriever.table, folder)
    save_scale(retriever.scale, folder)
    retriever.save(folder)
    models.ranker.save(folder)
    knowledge.transitions.save(folder)
    index.save(folder)


def _finite_share(models: TwoStage) -> float:
    networks = (models.retrieval.model.network, models.ranker.parts.network)
    arrays = [tensor.detach().numpy() for network in networks for tensor in network.state_dict().values()]
    arrays.append(models.retrieval.knowledge.vectors)
    finite = sum(int(np.isfinite(array).sum()) for array in arrays)
    every = sum(int(array.size) for array in arrays)
    return finite / every


def _holdout(dataset: Dataset, trained: Interactions, settings: TrainingSettings) -> Holdout:
    held_out = len(dataset.interactions) - len(trained)
    split: Literal["leave-one-out", "time", "newest"] = "newest" if settings.since else settings.split
    first_ms = dataset.interactions.times_s[len(trained)] * 1000 if split != "leave-one-out" and held_out else 0
    return Holdout(split=split, cut_ms=round(first_ms), events=held_out)


def _as_served(trained: TrainedModels) -> Metrics:
    """The test's measurement of the order that will be served."""
    orders = {"ranker": trained.test.two_stage, "retrieval": trained.test.retrieval}
    return orders.get(serve_order(trained.validation), trained.test.transitions)


def _metrics(trained: TrainedModels) -> dict[str, float]:
    """`two_stage_ndcg@10` is of the test; those of the validation say so."""
    named: dict[str, Metrics] = {
        "retrieval": trained.test.retrieval,
        "transitions": trained.test.transitions,
        "two_stage": trained.test.two_stage,
        "validation_retrieval": trained.validation.retrieval,
        "validation_two_stage": trained.validation.two_stage,
    }
    stages = {f"{stage}_{name}": float(value) for stage, measured in named.items()
              for name, value in measured.values.items()}  # fmt: skip
    return stages | trained.slates.as_metrics()


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, SettingValue]:
    flat: dict[str, SettingValue] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, str | int | float | bool) or value is None:
            flat[f"{prefix}{name}"] = value
    return flat
