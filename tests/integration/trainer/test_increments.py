"""`winnow train --since`: a bundle goes on with what came after it, and is replaced only by what is no worse."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from services.trainer.app import TrainingReport, Workplace, seen_by, train
from services.trainer.datasets import Dataset, DatasetError
from services.trainer.increment import LogExtent
from services.trainer.log_reading import read_log
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from shared.domain.events import Event, EventType
from shared.domain.items import Item
from shared.domain.watermark import Watermark
from shared.kernel.clock import system_clock
from shared.model.bundle import open_bundle
from shared.model.registry import Registry
from tests.fakes import MemoryLog

SETTINGS = replace(
    TrainingSettings(), preset="tiny", epochs=Epochs(sliced=3, continued=2, ranker=1, final=1, patience=2)
)
ITEMS, USERS = 24, 120


def walk(begin: int, steps: int, stride: int, users: int = USERS, items: int = ITEMS) -> Iterable[Event]:
    """Everybody goes round a ring of items, `stride` at a time."""
    for time in range(begin, begin + steps):
        for user in range(users):
            item = (user * 5 + time * stride) % items
            moment = 1_000_000 * time + 1_000 * user
            yield Event(f"{user}-{time}", f"u{user}", f"i{item}", EventType.CLICK, moment)


@dataclass
class Place:
    """A log, a registry, and what `winnow train` does with them."""

    log: MemoryLog
    work: Workplace

    async def train(self, since: str = "", **settings: str) -> TrainingReport:
        dataset, extent = await self.read(since)
        return train(dataset, replace(SETTINGS, **settings), self.work, silent, extent)  # type: ignore[arg-type]

    async def read(self, since: str) -> tuple[Dataset, LogExtent]:
        position = Watermark.parse(since) if since else None
        read = await read_log(self.log.tail(Watermark(), follow=False), since=position)
        return read.dataset, LogExtent(str(read.watermark), since, read.new if since else None)


async def old_habits() -> MemoryLog:
    """A log in which everybody goes one item on."""
    log = MemoryLog()
    await log.append([Item(f"i{row}", title=f"Item {row}") for row in range(ITEMS)])
    await log.append(list(walk(0, 8, stride=1)))
    return log


@pytest.fixture(scope="module")
def first_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a bundle that has seen the old habits."""
    folder = tmp_path_factory.mktemp("first")
    work = Workplace(Registry(str(folder / "registry")), folder / "work", system_clock)

    async def trained() -> bool:
        return (await Place(await old_habits(), work).train()).publication.published

    assert asyncio.run(trained())
    return folder / "registry"


@pytest.fixture
async def place(first_registry: Path, tmp_path: Path) -> Place:
    """The log and the registry as they were after the first training."""
    shutil.copytree(first_registry, tmp_path / "registry")
    work = Workplace(Registry(str(tmp_path / "registry")), tmp_path / "work", system_clock)
    return Place(await old_habits(), work)


async def test_a_bundle_goes_on_with_new_habits_and_new_items_and_replaces_the_one_that_knows_only_old_ones(
    place: Place,
) -> None:
    first = place.work.registry.current()
    since = seen_by("", place.work)
    await place.log.append([Item(f"i{row}", title=f"New {row}") for row in range(ITEMS, ITEMS + 6)])
    head = await place.log.append(list(walk(8, 8, stride=7, items=ITEMS + 6)))

    report = await place.train(since)

    manifest = report.publication.manifest
    (gate,) = [each for each in manifest.gates if each.name == "as_good_as_before"]
    assert report.publication.published
    assert gate.measured > gate.required + 0.05
    assert first in gate.detail
    assert place.work.registry.current() == report.publication.version != first
    assert (manifest.watermark, manifest.training["since"], manifest.training["init_from"]) == (str(head), since, first)
    measured = open_bundle(place.work.registry.fetch(report.publication.evaluation_version, place.work.work_dir))
    assert measured.manifest.holdout.split == "newest"
    assert "i29" in measured.vocabulary


async def test_without_anything_new_it_is_refused(place: Place) -> None:
    since = seen_by("", place.work)

    with pytest.raises(DatasetError, match=f"no event after {since} .* nothing to go on with"):
        await place.train(since)


async def test_a_position_that_the_log_never_had_is_refused(place: Place) -> None:
    with pytest.raises(DatasetError, match=r"--since w1-0\.99999 is not of this log, which ends at w1-0\.\d+"):
        await place.train("w1-0.99999")


async def test_events_that_the_bundle_has_seen_are_not_new_to_it(place: Place) -> None:
    seen = seen_by("", place.work)

    with pytest.raises(DatasetError, match=f"has seen the log up to {seen}, .* pass --since {seen}"):
        await place.train("w1-0.100")


async def test_a_bundle_of_another_log_does_not_go_on(place: Place) -> None:
    other = Place(MemoryLog(), place.work)
    since = str(await other.log.append(list(walk(0, 1, stride=1))))
    await other.log.append(list(walk(1, 1, stride=1)))

    with pytest.raises(DatasetError, match="it is another log; train without --since"):
        await other.train(since)


async def test_a_handful_of_new_events_is_too_few(place: Place) -> None:
    since = seen_by("", place.work)
    await place.log.append(list(walk(8, 1, stride=1, users=4)))

    with pytest.raises(DatasetError, match="has 4 new events; 10 are needed"):
        await place.train(since)


async def test_there_must_be_a_bundle_to_go_on_from(place: Place, tmp_path: Path) -> None:
    place.work = replace(place.work, registry=Registry(str(tmp_path / "empty")))
    since = str(await place.log.append(list(walk(8, 1, stride=1))))
    await place.log.append(list(walk(9, 1, stride=1)))

    with pytest.raises(DatasetError, match="serves no bundle to go on from; run `winnow train` without --since first"):
        await place.train(since)
