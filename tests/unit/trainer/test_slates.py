"""Served slates joined to what followed: what of the log teaches the ranker, and what must not."""

from __future__ import annotations

import numpy as np
import pytest

from services.trainer.log_reading import read_log
from services.trainer.slate_examples import Knowledge, divided
from services.trainer.slates import AnsweredSlate, Answers, AttributionSettings
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.provenance import Provenance
from shared.domain.ranking import Candidates, RequestContext
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from tests.fakes import MemoryLog
from tests.unit.trainer.data_worlds import dataset_of

HOUR_MS = 3_600_000
SERVED_MS = 100 * HOUR_MS
ITEMS = ("a", "b", "c", "d")


def slate(name: str = "s", user: str = "u", served_ms: int = SERVED_MS, chances: tuple[float, ...] = ()) -> ServedSlate:
    """Candidates a, b, c and d, of which d, b and a were shown, in this order."""
    count = len(ITEMS)
    column, nothing = np.arange(count, dtype=np.float32), np.zeros(count, np.int32)
    return ServedSlate(
        recommendation_id=name,
        user_id=user,
        session_id="",
        surface="home",
        served_ms=served_ms,
        provenance=Provenance(),
        seed=7,
        history=History.empty(),
        user=None,
        context=RequestContext(),
        candidates=Candidates(ITEMS, column, column, column, column, column.astype(np.int32), column, nothing),
        sources=(),
        actions=(),
        action_weights=(),
        probabilities=np.empty((count, 0), np.float32),
        values=np.zeros(count),
        shown_rows=np.array([3, 1, 0], np.int32),
        propensities=np.array(chances or (1.0, 1.0, 1.0), np.float32),
        reserve_rows=np.array([2], np.int32),
    )


def event(item: str, hours: float, kind: EventType = EventType.CLICK, after: str = "s") -> Event:
    """Something done with an item, so many hours after the slate."""
    time_ms = SERVED_MS + round(hours * HOUR_MS)
    return Event(f"{item}-{hours}-{kind}-{after}", "u", item, kind, time_ms, recommendation_id=after)


async def answers(*facts: ServedSlate | Event) -> Answers:
    log = MemoryLog()
    await log.append(list(facts))
    return (await read_log(log.tail(Watermark(), follow=False), attribution=AttributionSettings())).answers


async def the_one(*facts: ServedSlate | Event) -> AnsweredSlate:
    (only,) = (await answers(*facts)).slates
    return only


async def test_everything_done_with_a_shown_entry_is_an_outcome_of_its_slate() -> None:
    clicked, bought = event("b", 1), event("b", 2, EventType.PURCHASE)

    joined = await the_one(slate(), clicked, event("b", 3), bought, event("d", 1, EventType.LIKE))

    assert joined.candidates.item_ids == ("d", "b", "a")
    pairs = list(zip(joined.places.tolist(), joined.kinds.tolist(), strict=True))
    assert pairs == [(0, EventType.LIKE), (1, EventType.CLICK), (1, EventType.PURCHASE)]


async def test_the_inputs_are_those_that_were_recorded() -> None:
    joined = await the_one(slate(), event("b", 1))

    assert joined.candidates.popularity.tolist() == [3, 1, 0]
    assert joined.candidates.retrieval_ranks.tolist() == [3, 1, 0]
    assert joined.request.time_ms == SERVED_MS


@pytest.mark.parametrize(
    "stray",
    [event("b", 25), event("b", -1), event("c", 1), event("b", 1, after="another"), event("b", 1, EventType.DISLIKE)],
    ids=["a day later", "before the slate", "not shown", "of another slate", "no wish"],
)
async def test_what_is_not_the_slates_doing_is_no_outcome(stray: Event) -> None:
    joined = await the_one(slate(), event("d", 1), stray)

    assert joined.places.tolist() == [0]


async def test_a_slate_without_an_answer_counts_only_when_its_time_is_over() -> None:
    young = await answers(slate(), event("x", 23, after=""))
    old = await answers(slate(), event("x", 24, after=""))

    assert (young.read, len(young.slates)) == (1, 0)
    assert (old.read, len(old.slates)) == (1, 1)


async def test_what_chance_seldom_shows_counts_more_but_not_without_limit() -> None:
    joined = await the_one(slate(chances=(1.0, 0.25, 0.001)), event("b", 1))

    assert joined.weights.tolist() == pytest.approx([1, 4, 10])


async def test_where_the_client_tells_impressions_what_nobody_looked_at_is_no_negative() -> None:
    joined = await the_one(slate(), event("d", 1, EventType.IMPRESSION), event("b", 1))

    assert joined.weights.tolist() == [1, 1, 0]


async def test_a_slate_of_an_erased_user_is_not_read() -> None:
    log = MemoryLog()
    await log.append([slate("1", "secret"), slate("2", "u"), event("b", 1, after="1"), event("b", 1, after="2")])
    await log.erase("secret")

    read = await read_log(log.tail(Watermark(), follow=False), attribution=AttributionSettings())

    assert [each.user_id for each in read.answers.slates] == ["u"]
    assert read.answers.read == 1


def answered(user: str, served_s: float, outcome_s: float | None) -> AnsweredSlate:
    column, ranks = np.zeros(1, np.float32), np.zeros(1, np.int32)
    candidates = Candidates(("a",), column, column, column, column, ranks, column, ranks)
    outcomes = [] if outcome_s is None else [round(outcome_s * 1000)]
    return AnsweredSlate(
        user, round(served_s * 1000), round(served_s * 1000), History.empty(), None, candidates, np.ones(1, np.float32),
        np.zeros(len(outcomes), np.int64), np.full(len(outcomes), EventType.CLICK), np.array(outcomes, np.int64),
    )  # fmt: skip


KNOWN = Knowledge(described_s=np.array([100.0, -np.inf]), held_s=np.array([200.0, np.inf]))
USERS = dataset_of([("u", "a", 1.0), ("v", "a", 2.0)])
FAR = answered("v", 1000, None)
"""Late enough that all the others are before the last fifth."""


@pytest.mark.parametrize(
    ("asked", "learned"),
    [
        (answered("u", 150, 160), True),
        (answered("u", 150, None), True),
        (answered("u", 99, 160), False),
        (answered("u", 150, 200), False),
        (answered("u", 201, None), False),
        (answered("v", 5, 6), True),
        (answered("nobody in the data", 5, 6), True),
    ],
    ids=[
        "between both", "without an answer", "the retriever saw more of the user", "its answer is held out",
        "behind what is held out", "of a user of whom nothing was seen", "of a stranger",
    ],
)  # fmt: skip
def test_the_ranker_learns_from_slates_whose_outcome_the_retriever_has_not_seen_and_nobody_holds_out(
    asked: AnsweredSlate, learned: bool
) -> None:
    slates = sorted([asked, FAR, FAR], key=lambda each: each.served_ms)

    found = divided(slates, USERS, KNOWN, -np.inf)

    assert (asked in found.learned) == learned
    assert FAR not in found.learned


def test_measured_is_on_answered_slates_behind_the_cut_that_nobody_has_seen() -> None:
    before, seen, silent = answered("u", 250, 260), answered("u", 310, 160), answered("u", 320, None)
    new = [answered("u", time, time + 1) for time in (330.0, 340.0, 350.0)]

    found = divided([before, seen, silent, *new], USERS, KNOWN, 300.0)

    assert list(found.judged) == new[:1]
    assert list(found.later) == new[1:]


def test_without_slates_nothing_is_divided() -> None:
    assert divided([], USERS, KNOWN, 10.0).learned == ()
