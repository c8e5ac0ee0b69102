"""`winnow status` and `winnow erase`: the running system on one screen, and a user's right to be forgotten."""

from __future__ import annotations

import asyncio
from typing import Annotated

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from winnow.v1 import monitoring_service_pb2, monitoring_service_pb2_grpc, privacy_service_pb2, privacy_service_pb2_grpc

from services.command.options import DEFAULT_ADDRESS, Address, Json
from services.command.output import readable_errors, show, table
from shared.kernel.errors import from_rpc_error
from shared.kernel.hosting import connect

TIMEOUT_S = 10.0
STATES = {1: "serving", 2: "not serving", 3: "unreachable"}


def status(address: Address = DEFAULT_ADDRESS, json: Json = False) -> None:
    """Show every service, what it serves and how fresh it is."""
    with readable_errors():
        answer = asyncio.run(_get_status(address))
    services = [[each.name, STATES.get(each.state, "?"), each.detail] for each in answer.services]
    facts: list[list[object]] = [
        ["model", answer.model_version or "-"],
        ["index", answer.index_version or "-"],
        ["configuration", answer.config_version or "-"],
        ["log head", answer.head_watermark or "-"],
        ["features at", answer.feature_watermark or "-"],
        ["users", answer.users],
        ["items", answer.items],
        ["slates", answer.recommend_count],
        ["degraded slates", answer.degraded_count],
        ["lost slates", answer.lost_slates],
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
