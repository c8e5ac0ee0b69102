"""`winnow recommend` and `winnow record`: a slate for a person to read, and an event that changes the next one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import grpc
import typer
from google.protobuf.json_format import MessageToDict
from winnow.v1 import (
    candidate_generation_service_pb2,
    event_pb2,
    feature_service_pb2,
    feature_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    recommendation_service_pb2,
    recommendation_service_pb2_grpc,
)

from services.command.options import DEFAULT_ADDRESS, Address, Json
from services.command.output import console, fail, readable_errors, show, table
from shared.domain.events import EventType
from shared.kernel.errors import from_rpc_error
from shared.kernel.hosting import connect

if TYPE_CHECKING:
    from rich.table import Table

TIMEOUT_S = 10.0


def recommend(
    user: Annotated[str, typer.Option("--user", help="Whom for, by your own id of the user. Unknown ones are normal.")],
    page_size: Annotated[int, typer.Option(help="Entries, 1 to 200.")] = 10,
    surface: Annotated[str, typer.Option(help="Where it will be shown.")] = "",
    category: Annotated[list[str] | None, typer.Option(help="Only items of this category; may be repeated.")] = None,
    min_watermark: Annotated[str, typer.Option(help="From `winnow record`: include at least that event.")] = "",
    explain: Annotated[bool, typer.Option("--explain", help="Say for each entry how it came about.")] = False,
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Ask for a slate and print it."""
    request = recommendation_service_pb2.RecommendRequest(
        user_id=user,
        page_size=page_size,
        surface=surface,
        filter=candidate_generation_service_pb2.CandidateFilter(include_categories=category or []),
        min_watermark=min_watermark,
        explain=explain,
    )
    with readable_errors():
        answer, titles = asyncio.run(ask(address, request))
    data = MessageToDict(answer, preserving_proto_field_name=True)
    show(json, data, slate_table(f"Slate for {user}", answer, titles))
    if not json:
        _print_header(answer)


def record(
    user: Annotated[str, typer.Option("--user", help="Who did it.")],
    item: Annotated[str, typer.Option("--item", help="With which item.")],
    kind: Annotated[str, typer.Option("--type", help="What: click, like, purchase, rating, hide, …")] = "click",
    value: Annotated[float | None, typer.Option(help="Rating, seconds of dwell or price.")] = None,
    recommendation_id: Annotated[str, typer.Option(help="The slate that it followed from.")] = "",
    event_id: Annotated[str, typer.Option(help="Your id of the event; empty: a new one.")] = "",
    address: Address = DEFAULT_ADDRESS,
    json: Json = False,
) -> None:
    """Record one event; the next slate of the user follows it."""
    try:
        event_type = EventType.from_label(kind)
    except ValueError as error:
        raise fail(f"--type: {error}", 2) from error
    event = event_pb2.Event(
        event_id=event_id or str(uuid.uuid4()),
        user_id=user,
        item_id=item,
        event_type=event_type,  # type: ignore[arg-type]  # codes are equal by definition
        value=value,
        recommendation_id=recommendation_id,
    )
    with readable_errors():
        watermark = asyncio.run(send(address, event))
    data = {"event_id": event.event_id, "watermark": watermark}
    show(json, data, table("Recorded, durably", ["event", "watermark"], [[event.event_id, watermark]]))


async def ask(
    address: str, request: recommendation_service_pb2.RecommendRequest
) -> tuple[recommendation_service_pb2.RecommendResponse, dict[str, str]]:
    """A slate and the titles of its items.

    Raises:
        ServiceError: the service refused or does not answer.
    """
    async with connect(address) as channel:
        try:
            stub = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
            answer = await stub.Recommend(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return answer, await _titles(channel, [item.item_id for item in answer.items])


async def send(address: str, event: event_pb2.Event) -> str:
    """Record one event; gives the watermark that includes it.

    Raises:
        ServiceError: the event was refused, or the service does not answer.
    """
    async with connect(address) as channel:
        stub = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
        try:
            request = feedback_service_pb2.RecordEventsRequest(events=[event])
            answer = await stub.RecordEvents(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
    if answer.statuses[0].code:
        raise fail(answer.statuses[0].message)
    return str(answer.watermark)


def slate_table(title: str, answer: recommendation_service_pb2.RecommendResponse, titles: dict[str, str]) -> Table:
    """The entries, with their explanation when there is one."""
    explained = any(item.HasField("explanation") for item in answer.items)
    columns = ["#", "item", "title", "score", "from", *(["why"] if explained else [])]
    rows = [
        [
            item.position + 1,
            item.item_id,
            titles.get(item.item_id, ""),
            item.score,
            ", ".join(f"{source.source} #{source.rank}" for source in item.sources),
            *([_why(item.explanation)] if explained else []),
        ]
        for item in answer.items
    ]
    return table(title, columns, rows)


async def _titles(channel: grpc.aio.Channel, item_ids: Sequence[str]) -> dict[str, str]:
    """Titles for people; without a feature service at the same address there are none."""
    if not item_ids:
        return {}
    try:
        request = feature_service_pb2.BatchGetItemsRequest(item_ids=item_ids)
        stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
        answer = await stub.BatchGetItems(request, timeout=TIMEOUT_S)
    except grpc.RpcError:
        return {}
    return {state.item_id: state.item.title for state in answer.items}


def _why(explanation: recommendation_service_pb2.Explanation) -> str:
    actions = ", ".join(
        f"P({EventType(action.event_type).label}) {action.probability:.3f} × {action.weight:g}"
        for action in explanation.actions
        if action.weight
    )
    return f"{explanation.sentence} [{actions}]" if actions else explanation.sentence


def _print_header(answer: recommendation_service_pb2.RecommendResponse) -> None:
    header = answer.header
    versions = (
        f"model {header.model_version or '-'}  index {header.index_version or '-'}  state {header.watermark or '-'}"
    )
    console.print(f"[dim]{versions}\nrecommendation {answer.recommendation_id}[/dim]", highlight=False)
    for lost in header.degraded:
        console.print(f"[yellow]degraded[/yellow] {lost.stage}: {lost.reason} {lost.detail}", highlight=False)
