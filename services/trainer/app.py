"""The composition root of the trainer: what `winnow train` and `winnow evaluate` call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from services.trainer.baselines.registry import fit_baseline
from services.trainer.bundle_calibration import reliabilities
from services.trainer.bundle_evaluation import (
    BundleRecommender,
    evaluated_bundle,
    evaluation_settings,
    served_quality,
)
from services.trainer.bundle_ratings import rating_head
from services.trainer.checkpoints import Checkpoints
from services.trainer.datasets import Dataset, DatasetError
from services.trainer.evaluation import Metrics, Recommender, evaluate
from services.trainer.fingerprints import run_fingerprint
from services.trainer.gates import orders_slates_as_well
from services.trainer.in_sample import check_held_out
from services.trainer.increment import FILES, LogExtent, check_unseen, new_events
from services.trainer.incremental_training import train_increment
from services.trainer.memory import check_memory
from services.trainer.metrics_calibration import Reliability
from services.trainer.presets import SplitName, TrainingSettings
from services.trainer.progress import Progress
from services.trainer.publishing import Publication, Publisher
from services.trainer.ratings.measuring import RatingMetrics
from services.trainer.retrieval_stage import Run
from services.trainer.slate_gains import slate_gains
from services.trainer.slate_quality import SlateUse
from services.trainer.splits import Split, Stage, leave_one_out, time_split
from services.trainer.training import RECALL_AT, StageMetrics, train_models
from services.trainer.two_stage import MODEL_STAGES
from services.trainer.warm_start import WarmStart
from shared.kernel.clock import Clock
from shared.model.bundle import Bundle, BundleError, open_bundle
from shared.model.content_tuned import TunedLayers
from shared.model.manifest import GateResult
from shared.model.ranker import RankerModel
from shared.model.registry import Registry
from shared.model.retriever import RetrieverModel

_NO_BUNDLE = (
    "registry {} serves no bundle to go on from; run `winnow train` without --since first, or name a bundle with "
    "--init-from"
)

LEAST_SLATES = 20
"""Later slates from which on they may decide whether a bundle replaces another."""

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
        ratings: of the ranker's rating head; None for what has none, or where nobody rated.
    """

    metrics: Metrics
    split: Split
    version: str = ""
    note: str = ""
    calibration: Mapping[str, Reliability] = field(default_factory=dict)
    ratings: RatingMetrics | None = None


def train(
    dataset: Dataset, settings: TrainingSettings, place: Workplace, progress: Progress, extent: LogExtent = FILES
) -> TrainingReport:
    """Train both stages, measure them, publish them, or keep them aside when a gate failed.

    A run that was killed goes on from its last epoch when it is started again with the same data and settings.

    Args:
        dataset: to learn from.
        settings: of the training.
        place: registry, working folder and clock.
        progress: is told how far each part is.
        extent: which part of the event log the data are; with `since`, the bundle that is served (or
            `settings.init_from`) goes on with what came after it, and is replaced only by what is no worse.

    Raises:
        DatasetError: there is too little to learn from, or more than fits into memory; or the bundle to begin as has
            seen events that should be new to it.
        TrainingDivergedError: the loss is no number any more; the last good checkpoint is kept.
        RegistryError: the registry cannot be written, or lacks the bundle to begin with.
        BundleError: the bundle to begin with is damaged.
    """
    check_memory(dataset, settings, place.memory_bytes)
    if extent.since:
        return _train_since(dataset, settings, place, progress, extent)
    checkpoints = Checkpoints(place.work_dir / "checkpoints", run_fingerprint(dataset, settings))
    warm = None
    if settings.init_from:
        bundle = _beginning(settings.init_from, place)
        check_held_out(bundle, dataset, extent, settings.split)
        warm = WarmStart(RetrieverModel.load(bundle), bundle.manifest.version)
    trained = train_models(dataset, Run(settings, progress, checkpoints, warm, extent.answers))
    on_slates = _compared_on_slates(trained.slates, place)
    publisher = Publisher(dataset, settings, place.registry, extent.watermark, place.clock, on_slates=on_slates)
    publication = publisher.publish(trained)
    checkpoints.clear()
    return TrainingReport(publication, trained.validation, trained.test, trained.seconds)


def _train_since(
    dataset: Dataset, settings: TrainingSettings, place: Workplace, progress: Progress, extent: LogExtent
) -> TrainingReport:
    new, served = new_events(extent), place.registry.current()
    if not (source := settings.init_from or served):
        raise DatasetError(_NO_BUNDLE.format(place.registry.url))
    base = _opened(source, place)
    replaced = _opened(served, place) if served else None
    for each in (base, replaced):
        if each:
            check_unseen(each.manifest, extent)
    version = base.manifest.version
    settings = replace(settings, split="time", since=extent.since, init_from=version)
    warm = WarmStart(RetrieverModel.load(base), version, RankerModel.load(base), same_log=True)
    checkpoints = Checkpoints(place.work_dir / "checkpoints", run_fingerprint(dataset, settings))
    trained = train_increment(dataset, new, Run(settings, progress, checkpoints, warm, extent.answers))
    before = served_quality(replaced, dataset, trained.test_split) if replaced else None
    on_slates = _compared_on_slates(trained.slates, place)
    publisher = Publisher(dataset, settings, place.registry, extent.watermark, place.clock, before, on_slates)
    publication = publisher.publish(trained)
    checkpoints.clear()
    return TrainingReport(publication, trained.validation, trained.test, trained.seconds)


def _compared_on_slates(slates: SlateUse, place: Workplace) -> GateResult | None:
    """The new ranker against the one that is served, on slates that neither has learned from; None: too few."""
    if not (served := place.registry.current()) or len(slates.later) < LEAST_SLATES:
        return None
    try:
        bundle = _opened(served, place)
    except BundleError:
        return None  # of another release, or damaged: nothing can be said of it
    new_to_both = [each.served_ms > bundle.manifest.trained_until_ms for each in slates.later]
    if sum(new_to_both) < LEAST_SLATES:
        return None
    later = [each for each, new in zip(slates.later, new_to_both, strict=True) if new]
    before = slate_gains(RankerModel.load(bundle), later)
    return orders_slates_as_well(before, slates.gains[new_to_both], served)


def _opened(source: str, place: Workplace) -> Bundle:
    """A version of the registry, or a folder."""
    return open_bundle(
        Path(source) if Path(source).is_dir() else place.registry.fetch(source, place.work_dir / "bundles")
    )


def seen_by(init_from: str, place: Workplace) -> str:
    """The position up to which the bundle to go on from, else the served one, has seen the event log.

    Raises:
        DatasetError: there is no such bundle, or it was trained on files.
        BundleError: it is damaged.
        RegistryError: the registry cannot be read.
    """
    if not (source := init_from or place.registry.current()):
        raise DatasetError(_NO_BUNDLE.format(place.registry.url))
    manifest = _opened(source, place).manifest
    if not manifest.watermark:
        raise DatasetError(
            f"bundle {manifest.version} was trained on files ({manifest.data_name}) and has no position in the event "
            "log; pass --since the watermark behind which the log is new to it"
        )
    return manifest.watermark


def text_layers(settings: TrainingSettings, since: str, place: Workplace) -> TunedLayers | None:
    """Tuned layers of the text encoder that the bundle has which a training goes on from, if it goes on from one.

    Raises:
        BundleError: it is damaged.
        RegistryError: the registry cannot be read.
    """
    source = settings.init_from or (place.registry.current() if since else None)
    return TunedLayers.load(_opened(source, place)) if source else None


def _beginning(source: str, place: Workplace) -> Bundle:
    """The bundle to begin as: a version of the registry, or a folder.

    Of a bundle that was fitted on all events its sibling is taken that was not: some of those may be measured on again.
    """
    bundle = _opened(source, place)
    sibling = bundle.manifest.evaluation_version
    if bundle.manifest.holdout.split == "none" and sibling and not Path(source).is_dir():
        bundle = _opened(sibling, place)
    return bundle


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
    ranks = stage == "two-stage"
    calibration, ratings = (
        reliabilities(recommender, test) if ranks else {},
        rating_head(recommender, test) if ranks else None,
    )
    return Measured(_evaluated(recommender, test), test, bundle.manifest.version, note, calibration, ratings)


def divided(dataset: Dataset, split: SplitName, stage: Stage) -> Split:
    """The requests of a split."""
    return leave_one_out(dataset, stage) if split == "leave-one-out" else time_split(dataset, stage=stage)


def _evaluated(recommender: Recommender, split: Split) -> Metrics:
    return evaluate(recommender, split, recall_at=RECALL_AT)
