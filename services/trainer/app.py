"""The composition root of the trainer: what `winnow train` and `winnow evaluate` call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.trainer.baselines.registry import fit_baseline
from services.trainer.bundle_calibration import reliabilities
from services.trainer.bundle_evaluation import BundleRecommender, evaluated_bundle, evaluation_settings
from services.trainer.checkpoints import Checkpoints
from services.trainer.datasets import Dataset, DatasetError
from services.trainer.evaluation import Metrics, Recommender, evaluate
from services.trainer.fingerprints import run_fingerprint
from services.trainer.memory import check_memory
from services.trainer.metrics_calibration import Reliability
from services.trainer.presets import SplitName, TrainingSettings
from services.trainer.progress import Progress
from services.trainer.publishing import Publication, Publisher
from services.trainer.retrieval_stage import Run
from services.trainer.splits import Split, Stage, leave_one_out, time_split
from services.trainer.training import RECALL_AT, StageMetrics, train_models
from services.trainer.two_stage import MODEL_STAGES
from services.trainer.warm_start import WarmStart
from shared.kernel.clock import Clock
from shared.model.bundle import open_bundle
from shared.model.registry import Registry
from shared.model.retriever import RetrieverModel

BASELINE = "baseline:"
"""`--stage baseline:NAME` measures a baseline."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where a training works.

    Attributes:
        registry: bundles go to and come from.
        work_dir: keeps checkpoints until a training has ended, and local copies of bundles.
        clock: Unix milliseconds.
        memory_bytes: that a training may take; None: what the system says is free.
    """

    registry: Registry
    work_dir: Path
    clock: Clock
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a training gave.

    Attributes:
        publication: the bundles.
        validation, test: of both stages.
        seconds: wall time by part.
    """

    publication: Publication
    validation: StageMetrics
    test: StageMetrics
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement.

    Attributes:
        metrics: what was measured.
        split: on what.
        version: of the bundle; "" for a baseline.
        note: a sentence for the reader; "" when nothing needs saying.
        calibration: of the ranker's probabilities, by action; empty for what gives none.
    """

    metrics: Metrics
    split: Split
    version: str = ""
    note: str = ""
    calibration: Mapping[str, Reliability] = field(default_factory=dict)


def train(
    dataset: Dataset, settings: TrainingSettings, place: Workplace, progress: Progress, watermark: str = ""
) -> TrainingReport:
    """Train both stages, measure them, publish them, or keep them aside when a gate failed.

    A run that was killed goes on from its last epoch when it is started again with the same data and settings.

    Args:
        dataset: to learn from.
        settings: of the training.
        place: registry, working folder and clock.
        progress: is told how far each part is.
        watermark: position of the event log that the data includes; "" for files.

    Raises:
        DatasetError: there is too little to learn from, or more than fits into memory.
        TrainingDivergedError: the loss is no number any more; the last good checkpoint is kept.
        RegistryError: the registry cannot be written, or lacks the bundle to begin with.
        BundleError: the bundle to begin with is damaged.
    """
    check_memory(dataset, settings, place.memory_bytes)
    checkpoints = Checkpoints(place.work_dir / "checkpoints", run_fingerprint(dataset, settings))
    warm = _warm_start(settings.init_from, place) if settings.init_from else None
    trained = train_models(dataset, Run(settings, progress, checkpoints, warm))
    publisher = Publisher(dataset, settings, place.registry, watermark, place.clock)
    publication = publisher.publish(trained)
    checkpoints.clear()
    return TrainingReport(publication, trained.validation, trained.test, trained.seconds)


def _warm_start(source: str, place: Workplace) -> WarmStart:
    """The retriever of a bundle: a version of the registry, or a folder.

    Of a bundle that was fitted on all events its sibling is taken that was not: some of those may be measured on again.
    """
    cache = place.work_dir / "bundles"
    bundle = open_bundle(Path(source) if Path(source).is_dir() else place.registry.fetch(source, cache))
    sibling = bundle.manifest.evaluation_version
    if bundle.manifest.holdout.split == "none" and sibling and not Path(source).is_dir():
        bundle = open_bundle(place.registry.fetch(sibling, cache))
    return WarmStart(RetrieverModel.load(bundle), bundle.manifest.version)


def measure(dataset: Dataset, stage: str, split: SplitName, place: Workplace, version: str = "") -> Measured:
    """Measure a bundle's stage or a baseline on the test requests of a data set.

    Args:
        dataset: to measure on.
        stage: `retrieval`, `transitions`, `two-stage` or `baseline:NAME`.
        split: `leave-one-out` or `time`.
        place: registry and working folder.
        version: of the bundle; "" = the one that is served.

    Raises:
        DatasetError: the stage is unknown, there is no bundle, or the bundle has seen the events to be foretold.
        BundleError: the bundle is damaged.
        RegistryError: there is no such bundle.
    """
    test = divided(dataset, split, "test")
    if stage.startswith(BASELINE):
        fitted = fit_baseline(stage.removeprefix(BASELINE), test, divided(dataset, split, "validation"))
        return Measured(_evaluated(fitted.recommender, test), test, note=f"setting {fitted.setting}")
    if stage not in MODEL_STAGES:
        raise DatasetError(f"stage {stage!r} is unknown; use {', '.join(MODEL_STAGES)} or {BASELINE}NAME")
    wanted = version or place.registry.current()
    if not wanted:
        raise DatasetError(f"registry {place.registry.url} has no bundle yet; run `winnow train` first")
    bundle, note = evaluated_bundle(place.registry, wanted, place.work_dir / "bundles", dataset, split)
    quotas = evaluation_settings(bundle.manifest)
    recommender = BundleRecommender.of(bundle, dataset, test, MODEL_STAGES[stage], quotas)
    calibration = reliabilities(recommender, test) if stage == "two-stage" else {}
    return Measured(_evaluated(recommender, test), test, bundle.manifest.version, note, calibration)


def divided(dataset: Dataset, split: SplitName, stage: Stage) -> Split:
    """The requests of a split."""
    return leave_one_out(dataset, stage) if split == "leave-one-out" else time_split(dataset, stage=stage)


def _evaluated(recommender: Recommender, split: Split) -> Metrics:
    return evaluate(recommender, split, recall_at=RECALL_AT)
