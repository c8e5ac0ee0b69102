"""The feature service over a log of several partitions: what one partition promises holds there too."""

from __future__ import annotations

from pathlib import Path

from tests.contract.event_log_adapters import kafka_settings
from tests.integration.feature.embedded import clean_pass, embedded
from tests.integration.feature.store_places import StorePlace
from tests.integration.feature.test_read_your_writes import WRITERS, in_process, pairs
from tests.integration.feature.test_rebuild import fill


async def test_a_deleted_store_is_filled_again_from_the_topic_to_the_same_bytes(place: StorePlace) -> None:
    topic = kafka_settings(place.folder)
    async with embedded(place.folder, topic, **place.settings) as services:
        await fill(services, 1, batches=20)
        before = await services.feature.dump()
        partitions = (await services.feedback.log.head()).positions
    place.delete()

    async with embedded(place.folder, topic, **place.settings) as services:
        after = await services.feature.dump()
        passed = await clean_pass(services.feedback.log)

    assert before == after == passed
    assert before.count(b"\n") > 90
    assert len(partitions) == topic["kafka_partitions"]


async def test_a_restart_goes_on_where_the_store_is_in_each_partition(tmp_path: Path) -> None:
    topic = kafka_settings(tmp_path)
    async with embedded(tmp_path, topic) as services:
        await fill(services, 2, batches=10)
        before = await services.feature.dump()

    async with embedded(tmp_path, topic) as services:
        applied = (await services.feature.features.status()).applied_records
        again = await services.feature.dump()
        await fill(services, 3, batches=10)
        assert await services.feature.dump() == await clean_pass(services.feedback.log)

    assert applied == 0
    assert again == before


async def test_no_read_misses_the_write_before_it_whatever_its_partition(tmp_path: Path) -> None:
    async with embedded(tmp_path, kafka_settings(tmp_path)) as services:
        assert await pairs(services, in_process(services), services.feature.features, count=400) == [0] * WRITERS
