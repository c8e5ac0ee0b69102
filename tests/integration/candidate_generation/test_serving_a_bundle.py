"""Candidate generation with a trained bundle: new and deleted items, hot swaps, damaged bundles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.candidate_generation.app import CandidateGenerationApp
from shared.domain.items import Item
from shared.domain.retrieval import RetrievalResult
from shared.domain.services import CandidateGeneration
from shared.model.registry import Registry
from tests.integration.candidate_generation.trained_bundle import history_of_world, small_world
from tests.unit.candidate_generation.bare_bundles import publish_bare
from tests.unit.candidate_generation.memory_features import MemoryFeatures
from tests.unit.candidate_generation.rooms import asked
from tests.unit.candidate_generation.running import over_grpc, quick_settings, running
from tests.unit.candidate_generation.waiting import until

HORROR_FAN = history_of_world([f"horror-{number}" for number in range(6)])
NEW_HORROR = Item("new-horror", title="dark night returns", categories=("Horror",))
NEW_ROMANCE = Item("new-romance", title="sweet heart returns", categories=("Romance",))


@dataclass
class House:
    """Candidate generation that runs on the small world's catalogue and an own registry."""

    data_dir: Path
    features: MemoryFeatures = field(default_factory=MemoryFeatures)

    def __post_init__(self) -> None:
        self.features.upsert(*small_world().items)
        self.registry = Registry(str(self.data_dir / "registry"))

    @asynccontextmanager
    async def open(self, **overrides: object) -> AsyncIterator[CandidateGenerationApp]:
        async with running(quick_settings(self.data_dir, **overrides), self.features) as app:
            await until(lambda: app.hosted.readiness.ready)
            yield app


@pytest.fixture
def house(tmp_path: Path) -> House:
    """With an empty registry."""
    return House(tmp_path)


def given(result: RetrievalResult, source: str) -> list[str]:
    """The items of one source, best first."""
    return [result.item_ids[row] for hits in result.sources if hits.source == source for row in hits.rows]


async def for_horror_fan(port: CandidateGeneration, **quotas: int) -> RetrievalResult:
    """What the port finds for somebody who watched horror only."""
    return await port.retrieve(asked(HORROR_FAN, quotas=quotas or {"retriever": 20, "fresh": 5}), budget_ms=20_000)


async def found_when(port: CandidateGeneration, condition: Callable[[RetrievalResult], bool]) -> RetrievalResult:
    """The first answer that fulfils a condition."""
    async with asyncio.timeout(30):
        while not condition(result := await for_horror_fan(port)):
            await asyncio.sleep(0.005)
        return result


def serving(app: CandidateGenerationApp, version: str) -> Callable[[], bool]:
    """Whether a bundle is in use."""
    return lambda: app.bundle_status().version == version


async def test_the_trained_retriever_answers_through_annoy(house: House, bundles: tuple[Path, Path]) -> None:
    version = house.registry.publish(bundles[0])

    async with house.open() as app:
        await until(serving(app, version))
        result = await for_horror_fan(app.candidates, retriever=20)

    assert sum(item_id.startswith("horror") for item_id in result.item_ids) >= 18
    assert result.provenance.index_version == f"{version}/annoy"
    assert result.provenance.degraded == ()


async def test_annoy_finds_what_exact_search_finds(house: House, bundles: tuple[Path, Path]) -> None:
    version, found = house.registry.publish(bundles[0]), {}

    for exact in (False, True):
        async with house.open(exact_search=exact) as app:
            await until(serving(app, version))
            result = await for_horror_fan(app.candidates, retriever=30)
            found[result.provenance.index_version.rpartition("/")[2]] = set(result.item_ids)

    assert len(found["annoy"] & found["exact"]) >= 27


async def test_neighbours_come_from_what_users_did_next(house: House, bundles: tuple[Path, Path]) -> None:
    version = house.registry.publish(bundles[0])

    async with house.open() as app:
        await until(serving(app, version))
        result = await for_horror_fan(app.candidates, neighbours=10)

    assert len(result.item_ids) == 10
    assert all(item_id.startswith("horror") for item_id in result.item_ids)


async def test_a_new_item_is_found_by_its_content(house: House, bundles: tuple[Path, Path]) -> None:
    version = house.registry.publish(bundles[0])

    async with house.open() as app:
        await until(serving(app, version))
        house.features.upsert(NEW_HORROR, NEW_ROMANCE)
        result = await found_when(app.candidates, lambda found: len(given(found, "fresh")) == 2)

    assert given(result, "fresh") == ["new-horror", "new-romance"]
    assert "new-horror" in given(result, "retriever")
    assert "new-romance" not in given(result, "retriever")


async def test_a_deleted_item_is_gone_and_comes_back_when_it_is_sent_again(
    house: House, bundles: tuple[Path, Path]
) -> None:
    version = house.registry.publish(bundles[0])

    async with house.open() as app:
        await until(serving(app, version))
        house.features.delete("horror-7")
        await found_when(app.candidates, lambda found: "horror-7" not in found.item_ids)
        house.features.upsert(next(item for item in small_world().items if item.item_id == "horror-7"))
        back = await found_when(app.candidates, lambda found: "horror-7" in given(found, "retriever"))

    assert back.provenance.index_version == f"{version}/annoy"


async def test_without_a_bundle_it_serves_and_takes_the_first_one_that_is_published(
    house: House, bundles: tuple[Path, Path]
) -> None:
    async with house.open() as app:
        before = await for_horror_fan(app.candidates, retriever=5, popular=5)
        version = house.registry.publish(bundles[0])
        await until(serving(app, version))
        after = await for_horror_fan(app.candidates, retriever=5, popular=5)

    assert len(before.item_ids) == 5
    assert [(lost.stage, lost.reason) for lost in before.provenance.degraded] == [("retriever", "no-bundle")]
    assert after.provenance.degraded == ()
    assert len(given(after, "retriever")) == 5


async def test_a_hot_swap_under_load_fails_no_request_and_keeps_what_is_newer_than_both_bundles(
    house: House, bundles: tuple[Path, Path]
) -> None:
    first = house.registry.publish(bundles[0])
    answers: list[RetrievalResult] = []

    async with house.open() as app, over_grpc(app) as (client, _):
        await until(serving(app, first))
        house.features.upsert(NEW_HORROR)
        house.features.delete("horror-8")
        await found_when(client, lambda found: "new-horror" in found.item_ids and "horror-8" not in found.item_ids)
        swapped = asyncio.Event()

        async def ask_on() -> None:
            while not swapped.is_set():
                answers.append(await for_horror_fan(client))

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(ask_on())
            await until(lambda: len(answers) > 20)
            second = house.registry.publish(bundles[1])
            await until(serving(app, second))
            seen = len(answers)
            await until(lambda: len(answers) > seen + 20)
            swapped.set()

    assert {answer.provenance.model_version for answer in answers} == {first, second}
    assert all(answer.provenance.degraded == () for answer in answers)
    assert all("new-horror" in given(answer, "fresh") for answer in answers)
    assert all("horror-8" not in answer.item_ids for answer in answers)


@pytest.mark.parametrize("file", ["index.annoy", "retriever.safetensors", "manifest.json", "vectors.safetensors"])
async def test_a_damaged_bundle_is_refused_and_the_old_one_goes_on(
    house: House, bundles: tuple[Path, Path], file: str
) -> None:
    first = house.registry.publish(bundles[0])

    async with house.open() as app:
        await until(serving(app, first))
        second = house.registry.store(bundles[1])
        stored = house.data_dir / "registry" / "bundles" / second / file
        stored.write_bytes(stored.read_bytes()[:-7])
        house.registry.rollback(second)
        await until(lambda: app.bundle_status().refused_version == second)
        result = await for_horror_fan(app.candidates)

    status = app.bundle_status()
    assert (status.version, result.provenance.model_version) == (first, first)
    assert file in status.refused_reason
    assert result.provenance.degraded == ()


async def test_a_bundle_without_a_retriever_is_refused_with_the_name_of_what_is_missing(
    house: House, bundles: tuple[Path, Path], tmp_path: Path
) -> None:
    publish_bare(house.registry, tmp_path / "bare", "a", 1)

    async with house.open() as app:
        await until(lambda: bool(app.bundle_status().refused_reason))
        reason = app.bundle_status().refused_reason
        version = house.registry.publish(bundles[0])
        await until(serving(app, version))

    assert "vectors.safetensors" in reason


async def test_after_a_restart_new_and_deleted_items_are_as_before(house: House, bundles: tuple[Path, Path]) -> None:
    version = house.registry.publish(bundles[0])
    house.features.upsert(NEW_HORROR)
    house.features.delete("horror-8")

    for _ in range(2):
        async with house.open() as app:
            await until(serving(app, version))
            result = await found_when(app.candidates, lambda found: "new-horror" in given(found, "fresh"))

        assert "horror-8" not in result.item_ids
