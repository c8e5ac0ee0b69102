"""`winnow train` and `winnow evaluate`: a bundle from data, and how good it is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.command.importing import open_source
from services.command.options import DEFAULT_ADDRESS, Address, Json, RegistryUrl
from services.command.output import NOT_PUBLISHED, Bars, fail, readable_errors, show, table
from shared.kernel.clock import system_clock
from shared.kernel.config import load

if TYPE_CHECKING:
    from services.command.preparing import Prepared
    from services.trainer.app import Measured, TrainingReport, Workplace
    from services.trainer.datasets import Dataset
    from services.trainer.datasets_opening import OpenedDataset
    from services.trainer.increment import LogExtent
    from services.trainer.presets import TrainingSettings
    from services.trainer.settings import TrainerSettings
    from services.trainer.slates import AttributionSettings
    from shared.model.content_tuned import TunedLayers

Data = Annotated[
    str, typer.Option("--data", help="`ml-100k`, a folder or a file, as `winnow import` takes it; none: the event log.")
]
Interactions = Annotated[Path | None, typer.Option(help="A file of interactions instead of --data.")]
Items = Annotated[Path | None, typer.Option(help="A file of items beside it.")]
Split = Annotated[str, typer.Option(help="What is held out: leave-one-out or time.")]
STAGES = ("retrieval", "transitions", "two-stage")


@dataclass(frozen=True, slots=True)
class LogRequest:
    """What of the event log is read.

    Attributes:
        address: of the feedback service.
        since: position behind which events are new; "" = none are.
        attribution: what counts as the answer to a slate; None: slates are passed over.
    """

    address: str
    since: str = ""
    attribution: AttributionSettings | None = None


def train(
    data: Data = "",
    interactions: Interactions = None,
    items: Items = None,
    split: Split = "leave-one-out",
    preset: Annotated[str, typer.Option(help="Size of the networks: tiny, small, base or large.")] = "small",
    seed: Annotated[int, typer.Option(help="The same seed and data give the same bundle.")] = 0,
    threads: Annotated[
        int,
        typer.Option(help="Processor threads; a second one gains a third on idle cores, and loses much on busy ones."),
    ] = 1,
    min_user_events: Annotated[int, typer.Option(help="Learn only from users with so many events (k-core).")] = 0,
    min_item_events: Annotated[int, typer.Option(help="Learn only from items with so many events (k-core).")] = 0,
    keep_duplicates: Annotated[
        bool, typer.Option("--keep-duplicates", help="Keep events that repeat another in all they say.")
    ] = False,
    tune_text_layers: Annotated[
        int | None,
        typer.Option(help="Fine-tune so many last layers of the text encoder first (extra `text`); none: the setting."),
    ] = None,
    init_from: Annotated[
        str, typer.Option(help="Begin as this bundle (a version or a folder), of the same data or of others.")
    ] = "",
    since: Annotated[
        str,
        typer.Option(
            help="Go on from the served bundle (or --init-from) with the log's events after this watermark only; "
            "`bundle`: after what that bundle has seen."
        ),
    ] = "",
    registry: RegistryUrl = "",
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Train retriever and ranker, measure them on events they have not seen, and publish the bundle.

    A bundle that fails a gate is kept aside with its report and exit code 3; what is served stays.
    """
    from services.command.preparing import prepared
    from services.trainer.preprocessing import CleaningOptions
    from services.trainer.settings import TrainerSettings

    with readable_errors(), Bars() as bars:
        chosen = {"split": split, "preset": preset, "seed": seed, "threads": threads}
        told = {"registry_url": registry or None, "tuned_text_layers": tune_text_layers}
        settings = load(TrainerSettings, **chosen, **{name: each for name, each in told.items() if each is not None})
        if since and (data or interactions):
            raise fail("--since reads the event log; leave out --data and --interactions", 2)
        if since == "bundle":
            since = _seen_by(init_from, settings)
        log = LogRequest(address, since, settings.training().attribution)
        opened, extent = _opened(data, interactions, items, log)
        cleaning = CleaningOptions(
            drop_duplicates=not keep_duplicates, min_user_events=min_user_events, min_item_events=min_item_events
        )
        training = replace(settings.training(), init_from=init_from)
        carried = _text_layers(training, since, settings)
        ready = prepared(opened, cleaning, training, carried, bars)
        if extent.new is not None and ready.cleaning.kept is not None:
            extent = replace(extent, new=extent.new[ready.cleaning.kept])
        report = _trained(ready.dataset, training, _workplace(settings), bars, extent)
    _show_report(report, ready, json)
    if not report.publication.published:
        raise typer.Exit(NOT_PUBLISHED)


def evaluate(
    data: Data = "",
    interactions: Interactions = None,
    items: Items = None,
    split: Split = "leave-one-out",
    stage: Annotated[
        list[str] | None,
        typer.Option(
            help="retrieval, transitions, two-stage or baseline:NAME; may be repeated. None: the first three. "
            "rating, by itself: the error of foretold ratings."
        ),
    ] = None,
    bundle: Annotated[str, typer.Option(help="Version of the bundle; empty: the one that is served.")] = "",
    held_out: Annotated[
        Path | None, typer.Option(help="Ratings to foretell (a file of interactions); none: five random folds.")
    ] = None,
    export: Annotated[Path | None, typer.Option(help="Write the lists of the last stage, for any scorer.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write the measurements as JSON.")] = None,
    plots: Annotated[Path | None, typer.Option(help="Write pictures into this folder (needs matplotlib).")] = None,
    registry: RegistryUrl = "",
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Measure a bundle or a baseline: full ranking, seen items removed, one target a user."""
    from services.command.evaluating import show_measured, write_measured
    from services.command.rating import STAGE, evaluate_ratings
    from services.trainer.settings import TrainerSettings

    with readable_errors():
        settings = load(TrainerSettings, split=split, **({"registry_url": registry} if registry else {}))
        dataset = _opened(data, interactions, items, LogRequest(address))[0].dataset
        if stage == [STAGE]:
            aside = open_source(str(held_out), None).dataset if held_out else None
            return evaluate_ratings(dataset, aside, output, json)
        measured = _measured(dataset, stage or list(STAGES), settings, bundle)
    write_measured(dataset, measured, export=export, output=output, plots=plots)
    return show_measured(dataset, measured, json)


def _seen_by(init_from: str, settings: TrainerSettings) -> str:
    """The position up to which the bundle to go on from has seen the log."""
    from services.trainer.app import seen_by
    from services.trainer.datasets import DatasetError
    from shared.model.bundle import BundleError
    from shared.model.registry import RegistryError

    try:
        return seen_by(init_from, _workplace(settings))
    except DatasetError as error:
        raise fail(str(error), 2) from error
    except (RegistryError, BundleError) as error:
        raise fail(str(error)) from error


def _text_layers(training: TrainingSettings, since: str, settings: TrainerSettings) -> TunedLayers | None:
    from services.trainer.app import text_layers
    from shared.model.bundle import BundleError
    from shared.model.registry import RegistryError

    try:
        return text_layers(training, since, _workplace(settings))
    except (RegistryError, BundleError) as error:
        raise fail(str(error)) from error


def _opened(
    data: str, interactions: Path | None, items: Path | None, log: LogRequest
) -> tuple[OpenedDataset, LogExtent]:
    """The data to learn from, and what they hold of the log."""
    from services.trainer.increment import FILES

    if data and interactions:
        raise fail("--data and --interactions are both given; use one of them", 2)
    if source := data or (str(interactions) if interactions else ""):
        return open_source(source, items), FILES
    return asyncio.run(_from_log(log))


async def _from_log(asked: LogRequest) -> tuple[OpenedDataset, LogExtent]:
    from services.command.log_access import open_log
    from services.trainer.datasets_opening import OpenedDataset
    from services.trainer.increment import LogExtent
    from services.trainer.log_reading import read_log
    from shared.domain.watermark import Watermark

    try:
        position = Watermark.parse(asked.since) if asked.since else None
    except ValueError as error:
        raise fail(f"--since: {error}", 2) from error
    async with open_log(asked.address) as access:
        batches = access.feedback.tail(Watermark(), follow=False, batch_size=5000)
        read = await read_log(batches, since=position, attribution=asked.attribution)
    if not len(read.dataset.interactions):
        raise fail(f"the event log at {access.place} holds no events yet; run `winnow import` or name --data", 2)
    new = read.new if asked.since else None
    return OpenedDataset(read.dataset, ()), LogExtent(str(read.watermark), asked.since, new, read.answers)


def _workplace(settings: TrainerSettings) -> Workplace:
    from services.trainer.app import Workplace
    from shared.model.registry import Registry

    return Workplace(Registry(settings.registry), settings.work_dir, system_clock)


def _trained(
    dataset: Dataset, training: TrainingSettings, place: Workplace, bars: Bars, extent: LogExtent
) -> TrainingReport:
    from services.trainer.app import train as run
    from services.trainer.datasets import DatasetError
    from services.trainer.fitting import TrainingDivergedError
    from shared.model.bundle import BundleError
    from shared.model.registry import RegistryError

    try:
        return run(dataset, training, place, bars, extent)
    except DatasetError as error:
        raise fail(str(error), 2) from error
    except (TrainingDivergedError, RegistryError, BundleError) as error:
        raise fail(str(error)) from error


def _measured(dataset: Dataset, stages: Sequence[str], settings: TrainerSettings, bundle: str) -> list[Measured]:
    from services.trainer.app import measure
    from services.trainer.datasets import DatasetError
    from shared.model.bundle import BundleError
    from shared.model.registry import RegistryError

    try:
        return [measure(dataset, stage, settings.split, _workplace(settings), bundle) for stage in stages]
    except DatasetError as error:
        raise fail(str(error), 2) from error
    except (BundleError, RegistryError) as error:
        raise fail(str(error)) from error


def _show_report(report: TrainingReport, ready: Prepared, as_json: bool) -> None:
    manifest, publication = report.publication.manifest, report.publication
    from services.command.evaluating import SHOWN, row_of
    from services.trainer.comparison import differences
    from services.trainer.reporting import differences_table

    stages = [report.test.retrieval, report.test.transitions, report.test.two_stage]
    rows = [row_of(metrics) for metrics in stages]
    gates = [[gate.name, "passed" if gate.passed else "failed", gate.measured, gate.required, gate.detail]
             for gate in manifest.gates]  # fmt: skip
    data = {
        "version": publication.version, "published": publication.published, "serve_order": manifest.serve_order,
        "metrics": manifest.metrics, "gates": [gate.model_dump() for gate in manifest.gates], "seconds": report.seconds,
        "prepared": ready.as_record(),
    }  # fmt: skip
    state = "published and served" if publication.published else "kept aside: a gate failed"
    show(
        as_json,
        data,
        *ready.tables(),
        table(f"{ready.dataset.name}, events that the measured models have not seen",
              ["model", *SHOWN, "ndcg, 95 %"], rows),
        differences_table(differences(stages)),
        table("", ["gate", "", "measured", "required", ""], gates),
        table("", ["bundle", "", *report.seconds], [[publication.version, state,
              *(f"{value:.0f} s" for value in report.seconds.values())]]),
    )  # fmt: skip
