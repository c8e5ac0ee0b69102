"""An erased user is nowhere: in no file of the services, none of their own logs, no topic, no key or file of Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from winnow.v1 import (
    feature_service_pb2,
    feature_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    privacy_service_pb2,
    privacy_service_pb2_grpc,
)

from shared.wire.events import event_to_proto
from shared.wire.slates import slate_to_proto
from tests.contract.event_log_adapters import event, kafka_settings, slate
from tests.e2e.parts import Parts
from tests.e2e.product import wait_until
from tests.integration.feedback.test_erasure import holding
from tests.integration.feedback.test_kafka_log import topic_bytes
from tests.redis_server import RedisServer, redis_server

USER, OTHER = "user-zzyzx-4711", "user-who-stays"
TRACES = (USER, "item-only-zzyzx-saw", "session-zzyzx", "recommendation-zzyzx", "event-zzyzx")
STORED = {USER, "item-only-zzyzx-saw", "event-zzyzx"}
"""What the feature store shows of these before the erasure; the log shows none of it at any time."""
WAIT_S = 120


@contextmanager
def suite(folder: Path, patch: pytest.MonkeyPatch, log: str, redis: RedisServer) -> Iterator[Parts]:
    """The log and the features as processes of their own; the features in Redis where the log is in Kafka."""
    if log == "kafka":
        patch.setenv("WINNOW_FEATURE_STORE", "redis")
        patch.setenv("WINNOW_FEATURE_REDIS_URL", redis.url)
        for name, value in kafka_settings(folder).items():
            patch.setenv(f"WINNOW_FEEDBACK_{name.upper()}", str(value))
    parts = Parts(folder)
    try:
        parts.start("feedback")
        parts.start("feature")
        yield parts
    finally:
        parts.close()


def record(channel: grpc.Channel) -> str:
    """Events and a slate of two users, and events that are refused."""
    stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
    fields = {"item_id": "item-only-zzyzx-saw", "session_id": "session-zzyzx"}
    mine = [event(number, USER, event_id=f"event-zzyzx-{number}", **fields) for number in range(300)]
    refused = event(301, USER, event_id="event-zzyzx-refused", event_type=-1, **fields)
    events = [event_to_proto(each) for each in [*mine, refused, event(1, OTHER)]]
    slates = [slate_to_proto(slate("recommendation-zzyzx", USER))]
    stub.RecordSlates(feedback_service_pb2.RecordSlatesRequest(slates=slates), timeout=WAIT_S)
    answer = stub.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=events), timeout=WAIT_S)
    assert [status.code for status in answer.statuses].count(0) == 301
    return str(answer.watermark)


def history(channel: grpc.Channel, user_id: str, watermark: str) -> int:
    stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
    request = feature_service_pb2.GetUserStateRequest(user_id=user_id, min_watermark=watermark, history_limit=1_000)
    return len(stub.GetUserState(request, timeout=WAIT_S).user_state.history)


def held_by_redis(server: RedisServer) -> bytes:
    """Every key and value, as anybody who asks the server sees them."""
    with server.client() as client:
        return b"\n".join(part for key in client.scan_iter() for part in (key, client.dump(key) or b""))


def traces(folder: Path, redis: RedisServer, log: str) -> list[tuple[str, str]]:
    """What is found, and where."""
    found = [(trace, file) for trace in TRACES for file in holding(folder, trace)]
    values = {"redis": held_by_redis(redis), "topic": topic_bytes(folder) if log == "kafka" else b""}
    return found + [(trace, place) for trace in TRACES for place, data in values.items() if trace.encode() in data]


@pytest.mark.parametrize("log", ["sqlite", "kafka"])
def test_no_process_file_topic_or_server_holds_an_erased_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: str
) -> None:
    with redis_server(tmp_path / "redis") as redis, suite(tmp_path, monkeypatch, log, redis) as parts:
        feedback, feature = (grpc.insecure_channel(parts.addresses[name]) for name in ("feedback", "feature"))
        for channel in (feedback, feature):
            grpc.channel_ready_future(channel).result(WAIT_S)
        watermark = record(feedback)
        wait_until(lambda: history(feature, USER, watermark) == 300, WAIT_S)
        wait_until(lambda: {trace for trace, _ in traces(tmp_path, redis, log)} == STORED, WAIT_S)

        privacy = privacy_service_pb2_grpc.PrivacyServiceStub(feedback)
        receipt = privacy.EraseUser(privacy_service_pb2.EraseUserRequest(user_id=USER), timeout=WAIT_S)
        wait_until(lambda: history(feature, USER, str(receipt.watermark)) == 0, WAIT_S)
        wait_until(lambda: not traces(tmp_path, redis, log), WAIT_S, lambda: str(traces(tmp_path, redis, log)))

        assert receipt.stores[0].records == 301
        assert history(feature, OTHER, watermark) == 1
        logs = [path.stat().st_size for path in tmp_path.glob("*.log")]
        assert len(logs) == 2
        assert min(logs) > 0
