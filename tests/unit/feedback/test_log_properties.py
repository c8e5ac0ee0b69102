"""Whatever is sent, repeated, erased, restarted: the log holds each id once, in order, and positions tell the truth."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.event_log import Erasure, Fact
from shared.domain.events import Event
from shared.domain.watermark import Watermark
from tests.contract.event_log_adapters import as_bytes, event, open_sqlite, records

RESTART = "restart"
USERS = ("ada", "bob", "eve")
FEWER = settings(max_examples=max(20, settings().max_examples // 2))

numbers = st.integers(0, 30)
batches = st.lists(st.lists(numbers, min_size=1, max_size=8), min_size=1, max_size=8)
steps = st.lists(
    st.one_of(st.lists(numbers, min_size=1, max_size=8), st.just(RESTART), st.sampled_from(USERS)), max_size=10
)


def numbered(number: int) -> Event:
    return event(number, user_id=USERS[number % 3])


@FEWER
@given(batches)
def test_each_position_divides_the_log_at_its_append(sent: list[list[int]]) -> None:
    async def run(folder: Path) -> None:
        async with open_sqlite(folder) as log:
            positions = [await log.append([numbered(number) for number in batch]) for batch in sent]
            everything = [record.fact for record in await records(log)]

            assert positions == sorted(positions, key=Watermark.offset)
            for count, position in enumerate(positions, 1):
                before = list(dict.fromkeys(number for batch in sent[:count] for number in batch))
                assert everything[: position.offset()] == [numbered(number) for number in before]
                assert [record.fact for record in await records(log, position)] == everything[position.offset() :]

    with TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@FEWER
@given(batches)
def test_concurrent_batches_with_common_ids_leave_each_id_once(sent: list[list[int]]) -> None:
    async def run(folder: Path) -> None:
        async with open_sqlite(folder) as log:
            positions = await asyncio.gather(*(log.append([numbered(each) for each in batch]) for batch in sent))
            found = [record.fact for record in await records(log)]

            assert as_bytes(found) == as_bytes(
                numbered(number) for number in {each for batch in sent for each in batch}
            )
            for batch, position in zip(sent, positions, strict=True):
                assert {numbered(number) for number in batch} <= set(found[: position.offset()])

    with TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


@FEWER
@given(steps)
def test_the_log_follows_a_model_through_repeats_erasures_and_restarts(history: list[list[int] | str]) -> None:
    async def run(folder: Path) -> None:
        model = Model()
        opened = open_sqlite(folder)
        log = await opened.__aenter__()
        for step in history:
            if step == RESTART:
                await opened.__aexit__(None, None, None)
                opened = open_sqlite(folder)
                log = await opened.__aenter__()
            elif isinstance(step, str):
                assert (await log.erase(step) is not None) == model.erase(step)
            else:
                await log.append([numbered(number) for number in step])
                model.append(step)
            assert [_plain(record.fact) for record in await records(log)] == model.facts
        await opened.__aexit__(None, None, None)

    with TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


class Model:
    """What the log must hold."""

    def __init__(self) -> None:
        self.facts: list[Event | str | None] = []
        self._seen: set[int] = set()

    def append(self, batch: list[int]) -> None:
        for number in batch:
            if number not in self._seen:
                self._seen.add(number)
                self.facts.append(numbered(number))

    def erase(self, user_id: str) -> bool:
        """Whether the user was known."""
        mine = [isinstance(fact, Event) and fact.user_id == user_id for fact in self.facts]
        self.facts = [None if gone else fact for fact, gone in zip(self.facts, mine, strict=True)]
        if any(mine):
            self.facts.append("erasure")
        return any(mine)


def _plain(fact: Fact | None) -> Fact | str | None:
    return "erasure" if isinstance(fact, Erasure) else fact
