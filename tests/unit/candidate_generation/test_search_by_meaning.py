"""Search by meaning: beside the words where the encoder helps, by words alone where it does not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from services.candidate_generation.meanings import MOST_AT_ONCE, MeaningVectors, QueryEncoder
from services.candidate_generation.query import SourceAnswer
from services.candidate_generation.sources.search import SearchSource
from shared.domain.conditions import ItemFilter
from shared.domain.items import ContentVector, Item
from shared.model.content import Encoded
from tests.unit.candidate_generation.rooms import Room, asked
from tests.unit.model.encoders import LetterEncoder

PATIENT_MS = 60_000.0


@dataclass
class SlowEncoder(LetterEncoder):
    """Answers when it is let go."""

    let_go: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        self.begun.set()
        self.let_go.wait()
        return super().encode(contents)


class BrokenEncoder(LetterEncoder):
    """Never answers."""

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        raise RuntimeError("out of order")


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as opened:
        yield opened


def meaning(item_id: str, text: str, title: str = "", encoder_id: str = "letters-1") -> Item:
    """An item that means a text, whatever its title says."""
    values = LetterEncoder().encode([text.encode()]).vectors[0]
    return Item(item_id, title=title, vectors=(ContentVector("text", encoder_id, text, values),))


def room_of(*items: Item) -> Room:
    room = Room()
    room.catalogue.meanings = MeaningVectors("letters-1", 8)
    room.upsert(*items)
    return room


async def answer(room: Room, encoder: QueryEncoder, words: str, **over: object) -> SourceAnswer:
    patience_ms = float(str(over.pop("patience_ms", PATIENT_MS)))
    wanted = over.pop("filter", ItemFilter())
    return await SearchSource(encoder, patience_ms).search(room.query(asked(query_text=words, filter=wanted)), 10)


async def ready(encoder: LetterEncoder, thread: ThreadPoolExecutor) -> QueryEncoder:
    queries = QueryEncoder(encoder, thread)
    await queries.warm_up()
    return queries


async def test_an_item_is_found_by_what_it_means(thread: ThreadPoolExecutor) -> None:
    room = room_of(meaning("1", "aaa"), meaning("2", "bbb"), meaning("3", "aab"))

    found = await answer(room, await ready(LetterEncoder(), thread), "a")

    assert room.ids(found) == ["1", "3"]
    assert found.degraded == ()


async def test_what_is_much_further_off_than_the_nearest_is_not_about_the_query(thread: ThreadPoolExecutor) -> None:
    room = room_of(meaning("near", "aaab"), meaning("far", "abbb"))

    assert room.ids(await answer(room, await ready(LetterEncoder(), thread), "a")) == ["near"]


async def test_words_and_meaning_vote_together(thread: ThreadPoolExecutor) -> None:
    room = room_of(meaning("means", "ddd"), meaning("both", "ddc", title="dad"), meaning("says", "ggg", title="dad"))

    found = await answer(room, await ready(LetterEncoder(), thread), "dad")

    assert room.ids(found)[0] == "both"
    assert set(room.ids(found)) == {"means", "both", "says"}


async def test_a_filter_holds_for_meanings_too(thread: ThreadPoolExecutor) -> None:
    room = room_of(meaning("1", "aaa"), meaning("2", "aab"))
    wanted = ItemFilter(exclude_item_ids=frozenset({"1"}))

    found = await answer(room, await ready(LetterEncoder(), thread), "a", filter=wanted)

    assert room.ids(found) == ["2"]


async def test_what_an_item_means_now_counts_not_what_it_meant(thread: ThreadPoolExecutor) -> None:
    room = room_of(meaning("1", "aaa"), meaning("2", "bbb"))
    room.upsert(meaning("1", "ccc"), Item("2"))
    queries = await ready(LetterEncoder(), thread)

    assert room.ids(await answer(room, queries, "c")) == ["1"]
    assert room.ids(await answer(room, queries, "a")) == []
    assert room.ids(await answer(room, queries, "b")) == []


async def test_a_query_that_comes_again_is_not_encoded_again(thread: ThreadPoolExecutor) -> None:
    encoder = LetterEncoder()
    room, queries = room_of(meaning("1", "aaa")), await ready(encoder, thread)

    for _ in range(3):
        await answer(room, queries, "abc")

    assert encoder.asked.count([b"abc"]) == 1


async def test_a_vector_that_came_too_late_is_there_for_the_next_who_asks(thread: ThreadPoolExecutor) -> None:
    slow = SlowEncoder()
    queries = QueryEncoder(slow, thread)
    asking = asyncio.create_task(queries.vector("abc", PATIENT_MS))
    await asyncio.to_thread(slow.begun.wait)
    asking.cancel()
    await asyncio.wait([asking])
    slow.let_go.set()
    await asyncio.wrap_future(thread.submit(int))  # behind it

    await queries.vector("abc", PATIENT_MS)

    assert asking.cancelled()
    assert slow.asked == [[b"abc"]]


async def test_a_query_is_encoded_in_the_form_of_the_items_texts(thread: ThreadPoolExecutor) -> None:
    encoder = LetterEncoder()
    room, queries = room_of(meaning("1", "aaa")), await ready(encoder, thread)

    for query in ("cafe\u0301  bar", "caf\u00e9 bar"):
        await answer(room, queries, query)

    assert encoder.asked[1:] == [["caf\u00e9 bar".encode()]]


@pytest.mark.parametrize("reason", ["no-vectors", "starting", "deadline", "failed"])
async def test_where_the_encoder_cannot_help_words_decide_and_it_is_said(
    reason: str, thread: ThreadPoolExecutor
) -> None:
    other = "other-2" if reason == "no-vectors" else "letters-1"
    room, slow = room_of(meaning("1", "aaa", title="dad", encoder_id=other)), SlowEncoder()
    queries = QueryEncoder(BrokenEncoder() if reason == "failed" else slow, thread)
    queries.ready = reason != "starting"

    found = await answer(room, queries, "dad", patience_ms=1.0 if reason == "deadline" else PATIENT_MS)
    slow.let_go.set()

    assert room.ids(found) == ["1"]
    assert [(lost.stage, lost.reason) for lost in found.degraded] == [("search", reason)]


def test_vectors_of_another_encoder_or_another_width_are_passed_over() -> None:
    meanings = MeaningVectors("letters-1", 8)

    meanings.changed(0, meaning("1", "aaa", encoder_id="other"))
    meanings.changed(70, meaning("2", "aaa"))
    meanings.changed(3, Item("3", vectors=(ContentVector("text", "letters-1", "h", np.ones(3, np.float32)),)))

    assert len(meanings) == 1
    assert np.flatnonzero(meanings.cosines(LetterEncoder().encode([b"a"]).vectors[0], 80)).tolist() == [70]


async def test_what_is_left_out_still_says_what_is_near_enough(thread: ThreadPoolExecutor) -> None:
    room = room_of(meaning("1", "aaa"), meaning("2", "aab"), meaning("far", "abbb"))
    queries = await ready(LetterEncoder(), thread)
    wanted = ItemFilter(exclude_item_ids=frozenset({"1", "2"}))

    assert room.ids(await answer(room, queries, "a", filter=wanted)) == []


def test_a_vector_of_another_width_that_comes_first_keeps_nobody_out() -> None:
    meanings = MeaningVectors("letters-1", 8)

    meanings.changed(0, Item("0", vectors=(ContentVector("text", "letters-1", "h", np.ones(3, np.float32)),)))
    meanings.changed(1, meaning("1", "aaa"))

    assert len(meanings) == 1
    assert np.flatnonzero(meanings.cosines(LetterEncoder().encode([b"a"]).vectors[0], 2)).tolist() == [1]


@dataclass
class WatchedMeanings:
    """Meanings that note in which threads they are compared."""

    held: MeaningVectors
    threads: set[str] = field(default_factory=set)
    numbers: int = MOST_AT_ONCE

    def cosines(self, query: np.ndarray, size: int) -> np.ndarray:
        self.threads.add(threading.current_thread().name)
        return self.held.cosines(query, size)


@pytest.mark.parametrize(("numbers", "beside"), [(MOST_AT_ONCE, False), (MOST_AT_ONCE + 1, True)])
async def test_many_meanings_are_compared_beside_the_event_loop(
    thread: ThreadPoolExecutor, numbers: int, beside: bool
) -> None:
    room = room_of(meaning("1", "aaa"), meaning("2", "bbb"))
    watched = WatchedMeanings(room.catalogue.meanings, numbers=numbers)
    queries, vector = await ready(LetterEncoder(), thread), LetterEncoder().encode([b"a"]).vectors[0]

    cosines = await queries.compared(vector, watched, 2)  # type: ignore[arg-type]  # as far as it is used

    assert cosines.tolist() == [1, 0]
    assert (watched.threads != {threading.main_thread().name}) is beside
