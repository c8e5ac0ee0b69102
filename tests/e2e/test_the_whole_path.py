"""What a user of the product is promised: slates on real data that follow events, explained, replayable."""

from __future__ import annotations

import secrets

import pytest
from winnow.v1 import event_pb2, recommendation_service_pb2, recommendation_service_pb2_grpc

from tests.e2e.product import CALL_SECONDS, MOMENT_S, Running, click, item_ids, wait_until
from tests.otlp_receiver import Traces


def test_a_click_changes_the_next_slate(running: Running) -> None:
    before = running.recommend("42")
    watermark = running.record(click("e2e-click", "42", before.items[0].item_id, before.recommendation_id))

    after = running.recommend("42", min_watermark=watermark)

    assert len(before.items) == len(after.items) == 10
    assert before.items[0].item_id not in item_ids(after)
    assert set(item_ids(after)) - set(item_ids(before)), "nothing new came"
    assert not after.header.degraded


def test_the_answer_says_that_annoy_and_a_model_gave_it(running: Running) -> None:
    header = running.recommend("7").header

    assert header.index_version.endswith("/annoy")
    assert header.model_version
    assert header.watermark


def test_nothing_that_the_user_had_comes_again(running: Running) -> None:
    had = {event.item_id for event in running.user_state("100").history}

    slate = running.recommend("100", page_size=200)

    assert len(slate.items) == 200
    assert had.isdisjoint(item_ids(slate))


def test_pages_go_on_without_repeats(running: Running) -> None:
    first = running.recommend("9", page_size=5)
    second = running.recommend("9", page_size=5, page_token=first.next_page_token)

    assert set(item_ids(first)).isdisjoint(item_ids(second))
    assert [item.position for item in second.items] == [5, 6, 7, 8, 9]


def test_an_explanation_recomputes_the_score(running: Running) -> None:
    slate = running.recommend("5", explain=True)

    for item in slate.items:
        value = sum(action.probability * action.weight for action in item.explanation.actions)
        for adjustment in item.explanation.adjustments:
            value *= adjustment.factor
        assert value == pytest.approx(item.score, abs=1e-5)
        assert item.explanation.sentence


def test_an_event_counts_as_much_as_the_score_really_loses_without_it(running: Running) -> None:
    films = ["50", "181", "172", "1", "121"]
    seen = [click(f"session-{film}", "", film) for film in films]
    for place, event in enumerate(seen):
        event.event_time.FromSeconds(MOMENT_S - 3600 * (len(films) - place))
    asked = {"candidate_item_ids": ["174", "210", "222", "257", "405"], "surface": "plain"}

    whole = running.recommend_session(seen, explain=True, **asked)
    without = {
        film: {item.item_id: item.score for item in running.recommend_session(_but(seen, film), **asked).items}
        for film in films
    }

    told = [(item, influence) for item in whole.items for influence in item.explanation.because_of]
    assert told
    assert not whole.header.degraded
    for item, influence in told:
        lost = item.score - without[influence.item_id][item.item_id]
        assert influence.influence == pytest.approx(lost, abs=1e-5)
        assert influence.event_id == f"session-{influence.item_id}"


def test_an_explored_slate_has_its_probabilities_in_the_log_and_replays_to_itself(running: Running) -> None:
    slates = [running.recommend("11", surface="discover", page_size=20, explain=True) for _ in range(4)]

    replays = [running.replay(slate.recommendation_id) for slate in slates]

    assert all(replay.identical for replay in replays), [list(replay.differences) for replay in replays]
    rules = {rule.rule for slate in slates for item in slate.items for rule in item.explanation.adjustments}
    assert {"exploration", "diversity-mmr"} <= rules


def test_a_served_slate_replays_to_itself(running: Running) -> None:
    slate = running.recommend("3")

    again = running.replay(slate.recommendation_id)

    assert again.identical, list(again.differences)
    assert item_ids(slate) == [item.item_id for item in again.replayed_items]


def test_an_unknown_user_gets_a_slate(running: Running) -> None:
    slate = running.recommend("nobody-knows-me")

    assert len(slate.items) == 10


def test_the_status_page_shows_every_service_at_work(running: Running) -> None:
    status = running.status()

    assert {service.name: service.state for service in status.services} == dict.fromkeys(
        ("recommendation", "candidate_generation", "feature", "ranking", "feedback"), 1
    )
    assert status.items == 1682
    assert status.lost_slates == 0


def test_a_trace_goes_on_into_the_replica_of_the_ranker(running: Running, traces: Traces) -> None:
    trace_id = secrets.token_bytes(16)
    front = recommendation_service_pb2_grpc.RecommendationServiceStub(running.channel)

    front.Recommend(
        recommendation_service_pb2.RecommendRequest(user_id="42"),
        timeout=CALL_SECONDS,
        metadata=(("traceparent", f"00-{trace_id.hex()}-{secrets.token_hex(8)}-01"),),
    )

    edge = ("winnow", "ranking", "winnow.v1.RankingService/Rank")
    wait_until(lambda: edge in traces.edges(trace_id), 60, lambda: str(traces.edges(trace_id)))

    assert edge in traces.edges(trace_id)


def test_every_slate_of_these_tests_replays_to_itself(running: Running) -> None:
    for surface in ("default", "discover", "plain"):
        first = running.recommend("13", surface=surface)
        running.recommend("13", surface=surface, page_token=first.next_page_token)
        running.recommend_session([], surface=surface)

    replays = {each: running.replay(each) for each in dict.fromkeys(running.served)}

    assert len(replays) >= 6
    assert {each: list(replay.differences) for each, replay in replays.items() if not replay.identical} == {}


def _but(events: list[event_pb2.Event], item_id: str) -> list[event_pb2.Event]:
    return [event for event in events if event.item_id != item_id]
