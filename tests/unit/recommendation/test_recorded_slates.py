"""What is logged of a slate, and that it is: exactly the ranker's inputs, after the answer, or counted as lost."""

from __future__ import annotations

import asyncio

import numpy as np

from services.recommendation.identity import seed_of
from services.recommendation.recording import BATCH, SlateRecorder
from shared.domain.history import History
from shared.domain.provenance import Provenance
from shared.domain.ranking import Candidates, RequestContext
from shared.domain.slates import ServedSlate
from shared.kernel.errors import FieldViolation, invalid_fields
from tests.fakes_services import FakeFeedback, down
from tests.unit.recommendation.front import NOW_MS, World, ask, item_ids, opened


async def test_a_logged_slate_holds_exactly_what_the_ranker_received() -> None:
    world = World()

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    (slate,), (request,) = world.feedback.slates, world.ranking.requests
    result = await world.ranking.rank(request)
    for column in ("item_ids", "event_types", "values", "times_ms"):  # the ranker reads no ids of events
        assert getattr(slate.history, column) is getattr(request.history, column)
    assert slate.candidates is request.candidates
    assert slate.context is request.context
    assert slate.user is request.user
    assert slate.actions == result.actions
    assert np.array_equal(slate.probabilities, result.probabilities)
    assert slate.provenance == answer.provenance
    assert slate.recommendation_id == answer.recommendation_id
    assert slate.seed == seed_of(answer.recommendation_id)
    assert world.candidates.requests[-1].seed == slate.seed, "retrieval draws by it too"
    assert (slate.user_id, slate.served_ms) == ("ann", NOW_MS)


async def test_a_logged_slate_says_what_was_shown_and_what_was_left() -> None:
    world = World()

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask())

    (slate,) = world.feedback.slates
    assert list(slate.shown_item_ids) == item_ids(answer)
    assert [float(slate.values[row]) for row in slate.shown_rows] == [entry.score for entry in answer.entries]
    assert sorted([*slate.shown_rows, *slate.reserve_rows]) == list(range(55))
    assert slate.propensities.tolist() == [1.0] * 10


async def test_a_slate_in_retrievals_order_is_logged_without_probabilities() -> None:
    world = World()
    world.ranking.error = down("ranking")

    async with opened(world) as app:
        await app.recommender.recommend(ask())

    (slate,) = world.feedback.slates
    assert slate.actions == ()
    assert slate.probabilities.size == 0
    assert [lost.stage for lost in slate.provenance.degraded] == ["rank"]


async def test_the_answer_does_not_wait_for_the_log() -> None:
    world = World()
    world.feedback.frozen = True

    async with opened(world, close_seconds=0) as app:
        answer = await app.recommender.recommend(ask())

        assert len(answer.entries) == 10
        assert app.recommender.recorder.waiting == 1


async def test_slates_are_recorded_when_the_log_comes_back() -> None:
    feedback = FakeFeedback(error=down("feedback"))
    recorder = SlateRecorder(feedback, limit=10)
    task = asyncio.create_task(recorder.run())
    for number in range(3):
        recorder.accept(slate_of(number))
    await feedback.reached.wait()
    feedback.error = None
    await feedback.recorded.wait()
    task.cancel()

    assert [slate.recommendation_id for slate in feedback.slates] == ["0", "1", "2"]
    assert (recorder.lost, recorder.recorded, recorder.waiting) == (0, 3, 0)


async def test_a_slate_that_the_log_refuses_is_counted_as_lost_and_holds_up_no_other() -> None:
    too_early = invalid_fields([FieldViolation("slates[1].served_time", "is 91 s further in the future")])
    feedback = FakeFeedback(refusals={"1": too_early})
    recorder = SlateRecorder(feedback, limit=10)
    for number in range(3):
        recorder.accept(slate_of(number))
    await recorder.close(limit_s=60)

    assert [slate.recommendation_id for slate in feedback.slates] == ["0", "2"]
    assert (recorder.lost, recorder.recorded, recorder.waiting) == (1, 2, 0)


async def test_what_the_queue_cannot_hold_is_lost_oldest_first_and_counted() -> None:
    feedback = FakeFeedback()
    recorder = SlateRecorder(feedback, limit=2)
    for number in range(5):
        recorder.accept(slate_of(number))
    await recorder.close(limit_s=60)

    assert [slate.recommendation_id for slate in feedback.slates] == ["3", "4"]
    assert (recorder.lost, recorder.recorded) == (3, 2)


async def test_slates_that_are_on_their_way_are_not_pushed_out() -> None:
    feedback = FakeFeedback(frozen=True)
    recorder = SlateRecorder(feedback, limit=2)
    task = asyncio.create_task(recorder.run())
    recorder.accept(slate_of(0))
    recorder.accept(slate_of(1))
    await feedback.reached.wait()
    recorder.accept(slate_of(2))
    recorder.accept(slate_of(3))

    assert (recorder.waiting, recorder.lost) == (4, 0)

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    feedback.frozen = False
    await recorder.close(limit_s=60)

    assert [slate.recommendation_id for slate in feedback.slates] == ["2", "3"]
    assert (recorder.recorded, recorder.lost) == (2, 2)


async def test_many_slates_go_in_batches_that_the_contract_allows() -> None:
    feedback = FakeFeedback()
    recorder = SlateRecorder(feedback, limit=1000)
    for number in range(BATCH + 1):
        recorder.accept(slate_of(number))
    await recorder.close(limit_s=60)

    assert feedback.batches == [BATCH, 1]


async def test_what_is_left_when_the_service_stops_is_counted_as_lost() -> None:
    world = World()
    world.feedback.error = down("feedback")

    async with opened(world, close_seconds=0) as app:
        await app.recommender.recommend(ask())

    assert app.recommender.recorder.lost == 1


async def test_the_last_slates_are_recorded_when_the_service_stops() -> None:
    world = World()

    async with opened(world) as app:
        await app.recommender.recommend(ask())

    assert len(world.feedback.slates) == 1


def slate_of(number: int) -> ServedSlate:
    """A slate of nothing, told from others by its id."""
    floats, ranks = np.empty(0, np.float32), np.empty(0, np.int32)
    candidates = Candidates((), floats, floats, floats, floats, ranks, floats, ranks)
    return ServedSlate(
        recommendation_id=str(number),
        user_id="ann",
        session_id="",
        surface="",
        served_ms=NOW_MS,
        provenance=Provenance(),
        seed=0,
        history=History.empty(),
        user=None,
        context=RequestContext(),
        candidates=candidates,
        sources=(),
        actions=(),
        action_weights=(),
        probabilities=floats.reshape(0, 0),
        values=np.empty(0),
        shown_rows=ranks,
        propensities=floats,
        reserve_rows=ranks,
    )
