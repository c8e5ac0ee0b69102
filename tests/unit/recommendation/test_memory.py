"""What the front keeps for a while: last-known answers, and slates whose next page may be asked for."""

from __future__ import annotations

from dataclasses import replace

from services.recommendation.guarded import Guarded
from services.recommendation.memory import Memory
from services.recommendation.ranked_slate import RankedSlate
from services.recommendation.reserve import Reserve
from services.recommendation.slate import Pool, Viewer
from services.recommendation.sources import RetrievalSource
from services.recommendation.stages import Wish
from shared.domain.history import History
from shared.domain.services import CandidateGeneration
from shared.domain.user_state import ItemState, ItemStatus
from shared.kernel.breaker import CircuitBreaker
from tests.fakes_services import FakeCandidateGeneration
from tests.unit.recommendation.front import NOW_MS, ask, events
from tests.unit.recommendation.test_recorded_slates import slate_of


def states(*item_ids: str) -> list[ItemState]:
    """Items of which nothing is known but that they are there."""
    return [ItemState(item_id, ItemStatus.PRESENT) for item_id in item_ids]


def history(*item_ids: str) -> History:
    """Likes of these items."""
    return History.of(events(item_ids))


def test_items_are_remembered_as_they_were_seen_last() -> None:
    memory = Memory()
    memory.keep_items(states("a", "b"))
    memory.keep_items([replace(states("a")[0], popularity=2.0)])

    known = memory.items(["a", "c", "b"])

    assert [state.popularity if state else None for state in known] == [2.0, None, 0.0]


def test_memory_never_holds_more_than_its_limit_and_keeps_the_newest() -> None:
    memory = Memory(limit=10)
    for number in range(25):
        memory.keep_items(states(f"item-{number}"))

    known = [state is not None for state in memory.items([f"item-{number}" for number in range(25)])]

    assert sum(known) <= 10
    assert known[-1]
    assert not known[0]


def test_neighbours_of_the_latest_items_come_first_and_each_once() -> None:
    memory = Memory()
    memory.keep_neighbours(history("old"), Pool.of("neighbours", ["x", "y"]))
    memory.keep_neighbours(history("old", "new"), Pool.of("neighbours", ["z", "x"]))

    pool = memory.neighbours(history("old", "new"))

    assert pool.item_ids == ("z", "x", "y")
    assert [hits.source for hits in pool.sources] == ["neighbours"]


async def test_neighbours_that_are_left_when_others_are_asked_for_do_not_replace_the_best() -> None:
    memory, viewer = Memory(), Viewer(history("old"))
    port: CandidateGeneration = FakeCandidateGeneration(sources={"neighbours": ("best", "good", "last")})
    source = RetrievalSource(Guarded("candidate-generation", port, CircuitBreaker("candidate-generation")), memory)
    await source.find(Wish(ask(), viewer), 1e3)

    found = await source.find(Wish(ask(), viewer, frozenset({"best", "good"})), 1e3)

    assert found.pool.item_ids == ("last",)
    assert memory.neighbours(viewer.history).item_ids == ("best", "good", "last")


def test_what_other_sources_gave_is_not_remembered_as_neighbours() -> None:
    memory = Memory()
    memory.keep_neighbours(history("a"), Pool.of("popular", ["x"]))

    assert memory.neighbours(history("a")).item_ids == ()


class TestReserve:
    """Slates for next pages."""

    def slate(self, number: int, served_ms: int = NOW_MS) -> RankedSlate:
        """A slate served at a moment."""
        return RankedSlate(replace(slate_of(number), served_ms=served_ms))

    def test_a_kept_slate_is_found_by_its_id(self) -> None:
        reserve = Reserve(lambda: NOW_MS, limit=2, life_ms=1000)
        slate = self.slate(1)
        reserve.keep(slate)

        assert reserve.find("1") is slate
        assert reserve.find("2") is None

    def test_the_oldest_go_when_there_are_too_many(self) -> None:
        reserve = Reserve(lambda: NOW_MS, limit=2, life_ms=1000)
        for number in range(4):
            reserve.keep(self.slate(number))

        assert [number for number in range(4) if reserve.find(str(number))] == [2, 3]

    def test_what_is_over_is_not_found_and_makes_room(self) -> None:
        now = [NOW_MS]
        reserve = Reserve(lambda: now[0], limit=10, life_ms=1000)
        reserve.keep(self.slate(1))
        now[0] += 1001

        assert reserve.find("1") is None

        reserve.keep(self.slate(2, now[0]))

        assert len(reserve) == 1
