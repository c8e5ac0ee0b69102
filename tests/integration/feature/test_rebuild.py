"""The store can be deleted at any time: the log fills it again to the same state."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.domain.items import User
from tests.integration.feature.embedded import Embedded, clean_pass, embedded
from tests.integration.feature.killed_process import facts
from tests.integration.feature.store_places import StorePlace


async def fill(services: Embedded, seed: int, batches: int = 60) -> None:
    """A few thousand facts of every kind, an erasure and a deletion among them."""
    random = np.random.default_rng(seed)
    for turn in range(batches):
        await services.feedback.log.append(facts(random, f"{seed}-{turn}"))
    await services.feedback.log.append([User("user-1", ("jazz",), {"age": 7.0})])
    await services.feedback.intake.erase_user("user-2")
    await services.feedback.intake.delete_items(["i3"])
    await services.state("nobody", await services.feedback.log.head())


async def test_a_deleted_store_is_filled_again_to_the_same_bytes(place: StorePlace) -> None:
    async with embedded(place.folder, **place.settings) as services:
        await fill(services, 1)
        before = await services.feature.dump()
    place.delete()

    async with embedded(place.folder, **place.settings) as services:
        after = await services.feature.dump()

    assert before == after
    assert before.count(b"\n") > 90


async def test_a_restart_goes_on_where_the_store_is(place: StorePlace) -> None:
    async with embedded(place.folder, **place.settings) as services:
        await fill(services, 2)
        before = await services.feature.dump()

    async with embedded(place.folder, **place.settings) as services:
        applied = (await services.feature.features.status()).applied_records
        again = await services.feature.dump()
        await fill(services, 3)
        assert await services.feature.dump() == await clean_pass(services.feedback.log)

    assert applied == 0
    assert again == before


async def test_a_store_in_memory_replays_at_each_start(tmp_path: Path) -> None:
    async with embedded(tmp_path) as services:
        await fill(services, 4)
        kept = await services.feature.dump()

    async with embedded(tmp_path / "elsewhere", store="memory") as fresh:
        assert (await fresh.feature.features.status()).users == 0
    async with embedded(tmp_path, store="memory") as services:
        assert await services.feature.dump() == kept
        assert (await services.feature.features.status()).applied_records > 0
