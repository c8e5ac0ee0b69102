"""`winnow demo`: from nothing to a slate that follows an event, with the same commands that a user would give."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from services.command.output import console, fail, readable_errors, table
from shared.kernel.hosting import run_process

if TYPE_CHECKING:
    from rich.table import Table
    from winnow.v1.recommendation_service_pb2 import RecommendResponse

    from services.command.composition import Services

READY_SECONDS = 120.0
DATASET = "ml-100k"
CLIENT = """\
[bold]Call it from Python[/bold] (`pip install` this repository, or copy shared/stubs):

    import grpc
    from winnow.v1 import event_pb2, feedback_service_pb2, feedback_service_pb2_grpc
    from winnow.v1 import recommendation_service_pb2, recommendation_service_pb2_grpc

    channel = grpc.insecure_channel("{address}")
    front = recommendation_service_pb2_grpc.RecommendationServiceStub(channel)
    log = feedback_service_pb2_grpc.FeedbackServiceStub(channel)
    slate = front.Recommend(recommendation_service_pb2.RecommendRequest(user_id="42"), timeout=1)
    click = event_pb2.Event(event_id="my-1", user_id="42", item_id=slate.items[0].item_id,
                            event_type=event_pb2.EVENT_TYPE_CLICK, recommendation_id=slate.recommendation_id)
    log.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=\\[click]), timeout=1)

[bold]or with grpcurl[/bold]:

    grpcurl -plaintext -d '{{"user_id": "42", "page_size": 5, "explain": true}}' {address} \\
        winnow.v1.RecommendationService/Recommend

[bold]or from another terminal[/bold]: winnow recommend --user 42 --explain, winnow status. Ctrl-C ends everything."""


def demo(user: Annotated[str, typer.Option("--user", help="Whose slate is shown.")] = "42") -> None:
    """Import MovieLens-100K, train, serve, show a slate before and after a like, and stay up until Ctrl-C.

    What is there already (data, a bundle) is used again.
    """
    with readable_errors():
        run_process("winnow", lambda: _demonstrated(user))


@asynccontextmanager
async def _demonstrated(user: str) -> AsyncIterator[None]:
    from services.command.serving import all_services, one_process_settings

    await _prepare()
    begin = time.monotonic()
    _say("winnow serve")
    async with all_services() as services:
        await _ready(services)
        console.print(f"serving after {time.monotonic() - begin:.1f} s", highlight=False)
        address = one_process_settings().address
        await _show_a_change(address, user)
        console.print(CLIENT.format(address=address), highlight=False, soft_wrap=True)
        yield


async def _prepare() -> None:
    """Import and train, unless there is a bundle to serve."""
    from services.command.places import registry_url
    from shared.model.registry import Registry

    if Registry(registry_url()).current():
        return
    await _command("import", DATASET)
    await _command("train")


async def _command(*arguments: str) -> None:
    """Give one of our own commands, in a process of its own: its memory is free again afterwards, Ctrl-C ends it."""
    _say(f"winnow {' '.join(arguments)}")
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "services", *arguments)
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        raise
    if code:
        raise fail(f"`winnow {arguments[0]}` ended with code {code}; its message stands above", code)


async def _ready(services: Services) -> None:
    """Wait until every service does its work; what is late is named, and the demonstration goes on without it."""
    waited = [
        ("ranking", services.ranker),
        *((hosted.service_names[0], hosted.readiness) for _, hosted in services.hosted),
    ]
    for name, readiness in waited:
        if readiness is None:
            continue
        try:
            await asyncio.wait_for(readiness.wait_ready(), READY_SECONDS)
        except TimeoutError:
            console.print(f"[yellow]{name} is not ready: {readiness.reason}[/yellow]")


async def _show_a_change(address: str, user: str) -> None:
    """A slate, a like of its first entry, and the slate after it, side by side."""
    from winnow.v1 import event_pb2, recommendation_service_pb2

    from services.command.asking import ask, send

    before, titles = await ask(address, recommendation_service_pb2.RecommendRequest(user_id=user))
    if not before.items:
        console.print(f"[yellow]no slate for {user}: {[lost.detail for lost in before.header.degraded]}[/yellow]")
        return
    liked = before.items[0].item_id
    event = event_pb2.Event(
        event_id=f"demo-{uuid.uuid4()}",
        user_id=user,
        item_id=liked,
        event_type=event_pb2.EVENT_TYPE_LIKE,
        recommendation_id=before.recommendation_id,
    )
    watermark = await send(address, event)
    request = recommendation_service_pb2.RecommendRequest(user_id=user, min_watermark=watermark)
    after, more_titles = await ask(address, request)
    console.print(_side_by_side(before, after, titles | more_titles, f"User {user} likes {titles.get(liked, liked)!r}"))
    header = after.header
    console.print(f"[dim]model {header.model_version}  index {header.index_version}  log {header.watermark}[/dim]\n")


def _side_by_side(before: RecommendResponse, after: RecommendResponse, titles: dict[str, str], title: str) -> Table:
    places = {item.item_id: item.position for item in before.items}
    rows = [
        [
            old.position + 1,
            titles.get(old.item_id, old.item_id),
            titles.get(new.item_id, new.item_id),
            _movement(places.get(new.item_id), new.position),
        ]
        for old, new in zip(before.items, after.items, strict=False)
    ]
    return table(title, ["#", "before", "after", ""], rows)


def _movement(old: int | None, new: int) -> str:
    if old is None:
        return "new"
    return "" if old == new else f"{'↑' if new < old else '↓'} {abs(old - new)}"


def _say(command: str) -> None:
    console.print(f"[bold]$ {command}[/bold]", highlight=False)
