"""Content vectors of the catalogue: computed when items come, off the event loop, and never part of the state."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from structlog.testing import capture_logs

from services.feature.app import FeatureApp, open_feature
from shared.domain.event_log import ItemDeletion
from shared.domain.items import ContentVector, Item
from shared.domain.user_state import ItemChanges
from shared.domain.watermark import Watermark
from shared.model.content import Encoded, TextReader
from shared.model.content_cache import VectorCache
from shared.model.content_images import ImageReader
from shared.model.content_vectors import Channel, ContentVectors
from tests.fakes import MemoryLog
from tests.unit.feature.world import clock, settings
from tests.unit.model.encoders import LetterEncoder

PLENTY = 1 << 30


@dataclass
class StubbornEncoder(LetterEncoder):
    """Fails as a whole when one of the contents is `crash`; notes the thread."""

    threads: set[int] = field(default_factory=set)

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        self.threads.add(threading.get_ident())
        if b"crash" in contents:
            raise MemoryError("too much for one machine")
        return super().encode(contents)


@asynccontextmanager
async def reading(folder: Path, log: MemoryLog, encoder: LetterEncoder, **over: object) -> AsyncIterator[FeatureApp]:
    """A service with this text encoder."""
    images = Channel(ImageReader(None), LetterEncoder("image", "pixels-1"))
    vectors = ContentVectors([Channel(TextReader(), encoder), images], VectorCache(folder / "content.db", PLENTY), 64)
    async with open_feature(settings(folder, **over), clock, log, vectors) as app:
        await app.hosted.readiness.wait_ready()
        yield app


async def vectors_of(app: FeatureApp, item_id: str, count: int = 1) -> tuple[ContentVector, ...]:
    """The item's vectors, when there are as many."""
    while True:
        (state,) = await app.features.items([item_id], include_vectors=True)
        if state.item is not None and len(state.item.vectors) >= count:
            return state.item.vectors
        await asyncio.sleep(0.001)


async def test_an_upserted_item_gets_the_vector_of_its_text_off_the_event_loop(tmp_path: Path) -> None:
    log, encoder = MemoryLog(clock), StubbornEncoder()
    async with reading(tmp_path, log, encoder) as app:
        await log.append([Item("lamp", title="abc")])

        (vector,) = await vectors_of(app, "lamp")

    assert (vector.modality, vector.encoder_id) == ("text", "letters-1")
    np.testing.assert_allclose(vector.values[:3], 3**-0.5, atol=1e-3)
    assert threading.get_ident() not in encoder.threads


async def test_a_vector_that_the_caller_sent_wins(tmp_path: Path) -> None:
    log, encoder = MemoryLog(clock), LetterEncoder()
    own = ContentVector("text", "theirs", "h", np.ones(2, np.float32))
    async with reading(tmp_path, log, encoder) as app:
        await log.append([Item("lamp", title="abc", vectors=(own,)), Item("rug", title="b")])
        await vectors_of(app, "rug")

        (vector,) = await vectors_of(app, "lamp")

    assert vector.encoder_id == "theirs"
    assert encoder.asked == [[b"b"]]


async def test_an_item_that_changes_gets_the_vector_of_its_new_text(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    async with reading(tmp_path, log, LetterEncoder()) as app:
        await log.append([Item("lamp", title="a")])
        (before,) = await vectors_of(app, "lamp")
        await log.append([Item("lamp", title="b")])

        while (after := (await vectors_of(app, "lamp"))[0]).content_hash == before.content_hash:
            await asyncio.sleep(0.001)

    assert after.values[1] == 1


async def test_a_deleted_item_does_not_hold_up_the_others(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    async with reading(tmp_path, log, LetterEncoder()) as app:
        await log.append([Item("gone", title="a"), ItemDeletion("gone"), Item("lamp", title="b")])

        assert await vectors_of(app, "lamp")


async def test_a_watcher_is_sent_the_item_again_when_its_vector_is_there(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    async with reading(tmp_path, log, LetterEncoder()) as app:
        watching = app.features.watch_items(Watermark())
        await anext(watching)
        position = await log.append([Item("lamp", title="a")])

        assert await first_with_vectors(watching) == ("lamp",)

        again = app.features.watch_items(position)
        assert await first_with_vectors(again) == ("lamp",)


async def first_with_vectors(watching: AsyncIterator[ItemChanges]) -> tuple[str, ...]:
    """The items of the first message that brings vectors."""
    async for changes in watching:
        found = tuple(state.item_id for state in changes.upserted if state.item and state.item.vectors)
        if found:
            return found
    raise AssertionError("the stream ended")


async def test_a_restart_brings_the_vectors_back_without_encoding(tmp_path: Path) -> None:
    log, second = MemoryLog(clock), LetterEncoder()
    async with reading(tmp_path, log, LetterEncoder()) as app:
        await log.append([Item("lamp", title="a")])
        await vectors_of(app, "lamp")

    async with reading(tmp_path, log, second) as app:
        first_message = await anext(app.features.watch_items(Watermark()))

    assert [len(state.item.vectors) for state in first_message.upserted if state.item] == [1]
    assert second.asked == []


async def test_a_rebuilt_store_has_the_same_state_and_the_cached_vectors(tmp_path: Path) -> None:
    log, second = MemoryLog(clock), LetterEncoder()
    async with reading(tmp_path, log, LetterEncoder(), store="memory") as app:
        await log.append([Item("lamp", title="a")])
        await vectors_of(app, "lamp")
        before = await app.dump()

    async with reading(tmp_path, log, second, store="memory") as app:
        await vectors_of(app, "lamp")
        after = await app.dump()

    assert before == after
    assert second.asked == []


async def test_a_content_that_is_refused_is_told_with_item_and_reference_and_the_item_is_served(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    with capture_logs() as logs:
        async with reading(tmp_path, log, LetterEncoder()) as app:
            await log.append([Item("lamp", title="a", image_uri="http://10.0.0.1/lamp.png")])
            await vectors_of(app, "lamp")

    (told,) = [line for line in logs if line["event"] == "feature.content.refused"]
    assert (told["item_id"], told["reference"]) == ("lamp", "http://10.0.0.1/lamp.png")
    assert "not fetched" in told["reason"]


async def test_an_item_that_brings_the_encoder_down_does_not_keep_the_others_from_their_vectors(tmp_path: Path) -> None:
    log = MemoryLog(clock)
    with capture_logs() as logs:
        async with reading(tmp_path, log, StubbornEncoder()) as app:
            await log.append([Item("bad", title="crash"), Item("lamp", title="a")])
            await vectors_of(app, "lamp")
            await log.append([Item("rug", title="b")])
            await vectors_of(app, "rug")

    refused = [line["item_id"] for line in logs if line["event"] == "feature.content.refused"]
    assert refused == ["bad"]
