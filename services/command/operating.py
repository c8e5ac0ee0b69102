"""`winnow status` and `winnow erase`: the running system on one screen, and a user's right to be forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC
from typing import Annotated

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from winnow.v1 import (
    monitoring_service_pb2,
    monitoring_service_pb2_grpc,
    privacy_service_pb2,
    privacy_service_pb2_grpc,
    ranking_service_pb2,
)

from services.command.options import DEFAULT_ADDRESS, Address, Json
from services.command.output import readable_errors, show, table
from shared.kernel.errors import from_rpc_error
from shared.kernel.hosting import connect

TIMEOUT_S = 10.0
LOSSES_SHOWN = 5
METRICS_SHOWN = ("two_stage_hr@10", "two_stage_ndcg@10", "retrieval_ndcg@10", "two_stage_coverage@10")
STATES = {1: "serving", 2: "not serving", 3: "unreachable"}


def status(address: Address = DEFAULT_ADDRESS, json: Json = False) -> None:
    """Show every service, what it serves and how fresh it is."""
    with readable_errors():
        answer = asyncio.run(_get_status(address))
    services = [[each.name, STATES.get(each.state, "?"), each.detail] for each in answer.services]
    facts: list[list[object]] = [
        ["release", f"{answer.release}, up since {time_text(answer.started_time)}"],
        ["model", answer.model_version or "-"],
        ["index", answer.index_version or "-"],
        ["configuration", answer.config_version or "-"],
        ["log head", answer.head_watermark or "-"],
        ["features at", f"{answer.feature_watermark or '-'}, {answer.lag_records:,} records behind"],
        ["users", answer.users],
        ["items", answer.items],
        ["slates", answer.recommend_count],
        ["degraded slates", answer.degraded_count],
        ["lost slates", answer.lost_slates],
        *_traffic(answer),
        *_training(answer.bundle),
    ]
    data = MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    show(json, data, table("", ["service", "state", ""], services), table("", ["", ""], facts))


def erase(
    user: Annotated[str, typer.Option("--user", help="The user to forget, by your own id.")],
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Erase a user everywhere and print the receipt. There is no way back."""
    with readable_errors():
        receipt = asyncio.run(_erase(address, user))
    rows = [[each.store, each.records, "done" if each.done else "follows the log"] for each in receipt.stores]
    data = MessageToDict(receipt, preserving_proto_field_name=True)
    erased = table(f"Erased at {receipt.watermark or '- (not known)'}", ["store", "records", ""], rows)
    bundles = table("", ["trained with the user, until the next training"], [[each] for each in receipt.model_versions])
    show(json, data, erased, *([bundles] if receipt.model_versions else []))


def _traffic(answer: monitoring_service_pb2.GetStatusResponse) -> Iterator[list[object]]:
    """What the front answered during the last minutes."""
    traffic = answer.traffic
    yield [f"last {traffic.window_seconds:.0f} s", f"{traffic.answers_per_second:.2f} slates a second"]
    yield ["time of a slate", f"p50 {traffic.p50_ms:.0f} ms, p99 {traffic.p99_ms:.0f} ms"]
    losses = ", ".join(f"{each.stage} {each.reason} {each.answers}" for each in traffic.losses[:LOSSES_SHOWN])
    yield ["degraded", f"{traffic.degraded_share:.1%}" + (f" ({losses})" if losses else "")]
    yield ["ranked candidates", f"{answer.quality_factor:.0%} of those wanted"]


def _training(bundle: ranking_service_pb2.TrainedBundle) -> Iterator[list[object]]:
    """The training whose bundle the ranker serves."""
    if not bundle.version:
        yield ["last training", "-"]
        return
    yield ["last training", f"{time_text(bundle.created_time)}, on {bundle.trained_events:,} events"]
    measured = {metric.name: metric.value for metric in bundle.metrics}
    shown = [f"{name} {measured[name]:.4f}" for name in METRICS_SHOWN if name in measured]
    yield ["its test", ", ".join(shown) or "-"]


def time_text(time: Timestamp) -> str:
    """A moment for people, in UTC."""
    return f"{time.ToDatetime(UTC):%Y-%m-%d %H:%M} UTC" if time.seconds else "-"


async def _get_status(address: str) -> monitoring_service_pb2.GetStatusResponse:
    async with connect(address) as channel:
        stub = monitoring_service_pb2_grpc.MonitoringServiceStub(channel)
        try:
            return await stub.GetStatus(monitoring_service_pb2.GetStatusRequest(), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error


async def _erase(address: str, user_id: str) -> privacy_service_pb2.EraseUserResponse:
    async with connect(address) as channel:
        stub = privacy_service_pb2_grpc.PrivacyServiceStub(channel)
        try:
            return await stub.EraseUser(privacy_service_pb2.EraseUserRequest(user_id=user_id), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
