"""Following the catalogue through every kind of break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.candidate_generation.catalogue import Catalogue
from services.candidate_generation.catalogue_watch import CatalogueWatch
from shared.domain.items import Item
from shared.domain.watermark import Watermark
from shared.kernel.readiness import Readiness
from tests.unit.candidate_generation.memory_features import MemoryFeatures
from tests.unit.candidate_generation.rooms import NOW_MS
from tests.unit.candidate_generation.waiting import until


class Scene:
    """A watch, the features that it watches, and a clock."""

    def __init__(self, *items: Item, batch_size: int = 500) -> None:
        self.features = MemoryFeatures(batch_size)
        self.features.upsert(*items)
        self.now_ms = NOW_MS
        self.readiness = Readiness()
        self.watch = CatalogueWatch(self.features, Catalogue(), lambda: self.now_ms, self.readiness)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.watch.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def holds(self, *item_ids: str) -> Callable[[], bool]:
        return lambda: sorted(self.watch.catalogue.living_ids()) == sorted(item_ids)


async def test_it_is_ready_when_the_catalogue_was_read_to_its_end() -> None:
    scene = Scene(Item("a"), Item("b"), batch_size=1)
    before = scene.watch.ready

    async with scene.running():
        await until(lambda: scene.watch.ready)

    assert not before
    assert scene.readiness.ready
    assert scene.holds("a", "b")()
    assert scene.watch.watermark == Watermark.of(2)


async def test_an_empty_catalogue_is_read_too() -> None:
    scene = Scene()

    async with scene.running():
        await until(lambda: scene.readiness.ready)

    assert scene.watch.catalogue.living_ids() == []


async def test_while_the_first_reading_goes_on_it_is_not_ready() -> None:
    scene = Scene(Item("a"))
    scene.features.hold_back = True

    async with scene.running():
        await until(scene.holds("a"))

        assert not scene.readiness.ready


async def test_changes_arrive() -> None:
    scene = Scene(Item("a"))

    async with scene.running():
        await until(scene.holds("a"))
        scene.features.upsert(Item("b"))
        scene.features.delete("a")
        await until(scene.holds("b"))

    assert scene.watch.catalogue.living_ids() == ["b"]


async def test_a_broken_stream_goes_on_behind_the_last_change() -> None:
    scene = Scene(Item("a"))

    async with scene.running():
        await until(lambda: scene.watch.ready)
        scene.features.fail()
        await until(lambda: len(scene.features.watches) >= 2)
        scene.features.recover()
        scene.features.upsert(Item("b"))
        await until(scene.holds("a", "b"))

    assert scene.features.watches[-1] == Watermark.of(1)


async def test_answers_are_stale_only_after_a_break_that_lasts() -> None:
    scene = Scene(Item("a"))

    async with scene.running():
        await until(lambda: scene.watch.ready)
        scene.features.fail()
        await until(lambda: len(scene.features.watches) >= 2)
        at_once = scene.watch.degraded()
        scene.now_ms += 10_000
        later = scene.watch.degraded()
        scene.features.recover()
        await until(lambda: scene.watch.degraded() == ())

    assert at_once == ()
    assert [(lost.stage, lost.reason) for lost in later] == [("catalogue", "stale")]


async def test_a_first_reading_that_breaks_off_begins_again() -> None:
    scene = Scene(Item("a"))
    scene.features.hold_back = True

    async with scene.running():
        await until(scene.holds("a"))
        scene.features.fail()
        await until(lambda: len(scene.features.watches) >= 2)
        scene.features.hold_back = False
        scene.features.recover()
        await until(lambda: scene.watch.ready)

    assert set(scene.features.watches) == {Watermark()}


async def test_a_feature_service_on_another_log_is_read_from_the_beginning_and_the_rest_is_dropped() -> None:
    scene = Scene(Item("a"), Item("b"), Item("c"))

    async with scene.running():
        await until(lambda: scene.watch.ready)
        scene.features.rebuild([Item("b"), Item("d")])
        scene.features.fail()
        await until(lambda: len(scene.features.watches) >= 2)
        scene.features.recover()
        await until(scene.holds("b", "d"))

    assert scene.watch.ready
