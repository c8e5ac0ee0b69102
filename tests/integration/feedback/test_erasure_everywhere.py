"""An erased user is in no file and no topic, the receipt says what held them, and an export gave it all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.feature.app import open_feature
from services.feedback.app import open_feedback
from services.feedback.settings import FeedbackSettings
from services.feedback.trained_bundles import RegistryBundles
from shared.clients.feedback import GrpcFeedback
from shared.domain.event_log import Fact
from shared.domain.events import Event
from shared.domain.intake import UserErasure
from shared.domain.items import User
from shared.domain.slates import ServedSlate
from shared.kernel.client import open_channel
from shared.kernel.config import load
from shared.kernel.errors import ErrorReason, ServiceError
from shared.kernel.server import GrpcServer, ServerOptions
from shared.model.registry import Registry
from tests.contract.event_log_adapters import as_bytes, clock, event, kafka_settings, slate
from tests.integration.feature.embedded import Embedded, scrubbed, until
from tests.integration.feedback.test_erasure import holding
from tests.integration.feedback.test_kafka_log import topic_bytes
from tests.unit.feature.world import settings as feature_settings
from tests.unit.model.bundles import facts as manifest_facts
from tests.unit.model.bundles import write_toy_bundle

USER = "user-zzyzx-4711"
TRACES = (USER, "item-only-zzyzx-saw", "session-zzyzx", "interest-zzyzx", "recommendation-zzyzx", "event-zzyzx")
LIFE: list[Fact] = [
    *(
        event(number, USER, event_id=f"event-zzyzx-{number}", item_id=f"item-only-zzyzx-saw-{number}",
              session_id="session-zzyzx")
        for number in range(700)
    ),
    User(USER, ("interest-zzyzx",)),
    slate("recommendation-zzyzx", USER),
    event(701, USER, event_id="event-zzyzx-701"),
]  # fmt: skip


@asynccontextmanager
async def suite(folder: Path, adapter: str) -> AsyncIterator[tuple[Embedded, GrpcFeedback]]:
    """Log and features over one data folder, and a client of the log."""
    more = kafka_settings(folder) if adapter == "kafka" else {}
    async with (
        open_feedback(load(FeedbackSettings, data_dir=folder, **more), clock) as feedback,
        open_feature(feature_settings(folder), clock, feedback.feedback) as feature,
        GrpcServer("127.0.0.1:0", [feedback.hosted], ServerOptions(drain_grace_ms=0)) as server,
        open_channel(server.address) as channel,
    ):
        await feature.hosted.readiness.wait_ready()
        yield Embedded(folder, feedback, feature), GrpcFeedback(channel)


@pytest.mark.parametrize("adapter", ["sqlite", "kafka"])
async def test_no_trace_of_an_erased_user_is_left_in_any_file_or_topic(tmp_path: Path, adapter: str) -> None:
    async with suite(tmp_path, adapter) as (services, client):
        await services.feedback.log.append([event(number, f"other-{number % 9}") for number in range(2_000, 2_200)])
        position = await services.feedback.log.append(LIFE)
        state = await services.state(USER, position)
        await services.feature.dump()
        before = [trace for trace in TRACES if holding(tmp_path / "feature", trace)]

        receipt = await client.erase_user(USER)
        await services.state("nobody", receipt.watermark)
        await until(lambda: scrubbed(tmp_path, receipt.watermark))

        assert len(state.history) > 0
        assert USER in before
        assert [trace for trace in TRACES if holding(tmp_path, trace)] == []
        if adapter == "kafka":
            topic = topic_bytes(tmp_path)
            assert [trace for trace in TRACES if trace.encode() in topic] == []
        assert len((await services.state(USER)).history) == 0
        assert len((await services.state("other-1")).history) > 0
        assert [(store.store, store.records, store.done) for store in receipt.stores] == [
            ("event-log", len(LIFE), True),
            ("features", 0, False),
        ]


@pytest.mark.parametrize("adapter", ["sqlite", "kafka"])
async def test_an_export_gives_back_all_that_was_recorded(tmp_path: Path, adapter: str) -> None:
    async with suite(tmp_path, adapter) as (services, client):
        await services.feedback.log.append([*LIFE, event(3_000, "another")])

        runs = [run async for run in client.export_user(USER)]

        events = [each for run in runs for each in run.events]
        slates = [each for run in runs for each in run.slates]
        assert events == [fact for fact in LIFE if isinstance(fact, Event)]
        assert as_bytes(slates) == as_bytes(fact for fact in LIFE if isinstance(fact, ServedSlate))
        assert [run.user for run in runs if run.user] == [User(USER, ("interest-zzyzx",))]


@pytest.mark.parametrize("adapter", ["sqlite", "kafka"])
async def test_a_receipt_names_the_bundles_that_were_trained_after_the_user_came(tmp_path: Path, adapter: str) -> None:
    async with suite(tmp_path, adapter) as (services, client):
        before = await services.feedback.log.append([event(number, f"other-{number}") for number in range(9)])
        after = await services.feedback.log.append([event(100, USER)])
        for created_ms, watermark in enumerate((str(before), str(after), ""), 1_700_000_000_000):
            write_toy_bundle(tmp_path / f"made-{created_ms}", created_ms, watermark=watermark)
            Registry(str(tmp_path / "registry")).publish(tmp_path / f"made-{created_ms}")
        versions = sorted(bundle.version for bundle in Registry(str(tmp_path / "registry")).list())

        receipt = await client.erase_user(USER)
        early = await client.erase_user("other-0")

        assert list(receipt.model_versions) == versions[1:]
        assert list(early.model_versions) == versions


async def test_a_registry_that_cannot_be_read_stops_the_erasure_before_it_begins(tmp_path: Path) -> None:
    (tmp_path / "registry" / "bundles" / "20260101T000000000-00000000" / "manifest.json").mkdir(parents=True)
    async with suite(tmp_path, "sqlite") as (services, client):
        await services.feedback.log.append([event(1, USER)])
        with pytest.raises(ServiceError) as told:
            await client.erase_user(USER)
        (tmp_path / "registry").rename(tmp_path / "elsewhere")

        receipt: UserErasure = await client.erase_user(USER)

        assert told.value.reason.name == ErrorReason.DEPENDENCY_UNAVAILABLE.name
        assert (receipt.stores[0].records, receipt.model_versions) == (1, ())


async def test_manifests_of_another_schema_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "bundles" / "one"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(manifest_facts().model_dump_json(), encoding="utf-8")

    assert await RegistryBundles(str(tmp_path), may_be_missing=False).read() == ()


async def test_a_registry_that_was_named_and_is_not_there_is_no_registry_without_bundles(tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as told:
        await RegistryBundles(str(tmp_path / "not-mounted"), may_be_missing=False).read()

    assert told.value.reason.name == ErrorReason.DEPENDENCY_UNAVAILABLE.name
    assert "WINNOW_FEEDBACK_REGISTRY_URL" in told.value.message
    assert await RegistryBundles(str(tmp_path / "nothing-trained-yet"), may_be_missing=True).read() == ()
