"""Slates joined to what followed from them: what is counted, once, and what is forgotten."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.feature.distinct import DAY_MS, DailyDistinct
from services.feature.online_quality import EARLY_EVENTS, EARLY_MS, LABELLED, OnlineQuality
from shared.domain.event_log import Erasure, Fact, LogRecord
from shared.domain.events import Event, EventType
from shared.domain.slates import ServedSlate
from shared.domain.watermark import Watermark
from tests.unit.feature.world import NOW_MS, slate

PURCHASE, CLICK, HIDE = int(EventType.PURCHASE), int(EventType.CLICK), int(EventType.HIDE)


def record(fact: Fact, recorded_ms: int = NOW_MS, subject: str = "s-1") -> LogRecord:
    """A fact as it stands in the log."""
    return LogRecord(Watermark(), recorded_ms, subject, fact)


def event_of(served: ServedSlate, item_id: str, kind: int = CLICK, event_id: str = "e") -> Event:
    """What a user did with an entry of a slate."""
    return Event(event_id, "anna", item_id, kind, NOW_MS, recommendation_id=served.recommendation_id)


def ranked(surface: str, arm: str = "") -> ServedSlate:
    """Three entries whose clicks were thought .5, .25 and .25 probable, worth 1 each, a purchase 5, hiding -2."""
    probabilities = np.array([[0.5, 0.1, 0], [0.25, 0.1, 0], [0.25, 0.1, 0]], np.float32)
    return replace(
        slate("anna", ["a", "b", "c"]), surface=surface, arm=arm, probabilities=probabilities,
        actions=(CLICK, PURCHASE, HIDE), action_weights=(1.0, 5.0, -2.0),
    )  # fmt: skip


def value(name: str, **labels: str) -> float:
    """A metric now; 0 while it does not exist."""
    return REGISTRY.get_sample_value(f"winnow_online_{name}", labels) or 0.0


def test_a_click_counts_once_at_its_position_with_its_worth() -> None:
    quality, served = OnlineQuality(NOW_MS, 100), ranked("joined", "b")
    quality.observe([record(served), record(event_of(served, "b"))])
    quality.observe([record(served), record(event_of(served, "b", event_id="again"))])
    quality.observe([record(event_of(served, "b", PURCHASE)), record(event_of(served, "c", HIDE))])
    labels = {"surface": "joined", "arm": "b"}

    assert [value("shown_total", **labels, position=str(n)) for n in range(4)] == [1, 1, 1, 0]
    assert [value("clicks_total", **labels, position=str(n)) for n in range(3)] == [0, 1, 0]
    assert [value("reward_total", **labels, position=str(n)) for n in range(3)] == [0, 6, 0]
    assert [value("penalty_total", **labels, position=str(n)) for n in range(3)] == [0, 0, 2]
    assert value("outcomes_total", **labels, event="purchase") == 1
    assert value("new_shown_total", **labels) == 3


def test_a_reward_without_any_penalty_can_be_compared_with_it() -> None:
    quality, served = OnlineQuality(NOW_MS, 100), ranked("pleased")

    quality.observe([record(served), record(event_of(served, "a"))])

    labels = {"surface": "pleased", "arm": "", "position": "0"}
    assert REGISTRY.get_sample_value("winnow_online_penalty_total", labels) == 0


def test_an_event_that_stands_before_its_slate_in_the_log_is_joined_to_it() -> None:
    quality, served, before = OnlineQuality(NOW_MS, 100), ranked("hasty"), value("unjoined_total")

    quality.observe([record(event_of(served, "b")), record(served)])
    quality.observe([record(served, NOW_MS + EARLY_MS + 1)])

    assert value("clicks_total", surface="hasty", arm="", position="1") == 1
    assert value("unjoined_total") == before


def test_an_event_of_an_erased_user_waits_no_longer() -> None:
    quality, served, before = OnlineQuality(NOW_MS, 100), ranked("erased early"), value("unjoined_total")

    quality.observe([record(event_of(served, "b")), record(Erasure(NOW_MS), subject="s-1"), record(served)])
    quality.observe([record(served, NOW_MS + EARLY_MS + 1)])

    assert value("clicks_total", surface="erased early", arm="", position="1") == 0
    assert value("unjoined_total") == before


def test_events_without_number_that_no_slate_comes_for_take_no_memory_without_end() -> None:
    quality, before = OnlineQuality(NOW_MS, 100), value("unjoined_total")
    orphans = [event_of(replace(ranked("orphans"), recommendation_id=f"r-{n}"), "a") for n in range(EARLY_EVENTS + 5)]

    quality.observe(map(record, orphans))

    assert value("unjoined_total") - before == 5


def test_what_was_promised_and_what_followed_can_be_compared() -> None:
    before = {name: value(name, event="click") for name in ("expected_total", "observed_total")}
    quality, served = OnlineQuality(NOW_MS, 100), ranked("promised")

    quality.observe([record(served), record(event_of(served, "a"))])

    assert value("expected_total", event="click") - before["expected_total"] == 1.0
    assert value("observed_total", event="click") - before["observed_total"] == 1.0


def test_a_replay_counts_nothing_and_its_slates_are_joined_to_what_follows_now() -> None:
    quality, served = OnlineQuality(NOW_MS, 100), ranked("replayed")

    quality.observe([record(served, NOW_MS - 1), record(event_of(served, "a"), NOW_MS - 1)])
    quality.observe([record(event_of(served, "b"))])

    assert value("shown_total", surface="replayed", arm="", position="0") == 0
    assert value("clicks_total", surface="replayed", arm="", position="0") == 0
    assert value("clicks_total", surface="replayed", arm="", position="1") == 1


def test_a_later_page_goes_on_where_the_first_ended() -> None:
    quality, first = OnlineQuality(NOW_MS, 100), ranked("paged")
    second = replace(first, first_position=3, candidates=slate("anna", ["d", "e", "f"]).candidates)

    quality.observe([record(first), record(second), record(second), record(event_of(first, "e"))])

    assert value("clicks_total", surface="paged", arm="", position="4") == 1
    assert value("shown_total", surface="paged", arm="", position="3") == 1


def test_memory_is_bounded_and_an_event_of_a_forgotten_slate_is_counted_as_that() -> None:
    quality, slates, before = OnlineQuality(NOW_MS, 6), [ranked("bounded") for _ in range(5)], value("unjoined_total")

    quality.observe(map(record, slates))
    quality.observe([record(event_of(slates[0], "a")), record(event_of(slates[4], "a"))])
    quality.observe([record(slates[4], NOW_MS + EARLY_MS + 1)])

    assert quality.entries == 6
    assert value("unjoined_total") - before == 1
    assert value("clicks_total", surface="bounded", arm="", position="0") == 1


def test_a_slate_that_tells_of_its_entries_twice_is_remembered_once() -> None:
    quality, served = OnlineQuality(NOW_MS, 3), ranked("twice")

    quality.observe([record(served), record(replace(served, first_position=3)), record(event_of(served, "a"))])

    assert quality.entries == 3
    assert value("outcomes_total", surface="twice", arm="", event="click") == 1


def test_callers_cannot_make_any_number_of_series() -> None:
    quality = OnlineQuality(NOW_MS, 10_000)

    quality.observe(record(ranked(f"surface-{number}")) for number in range(LABELLED + 30))

    assert value("shown_total", surface="other", arm="", position="0") == 30
    assert value("shown_total", surface=f"surface-{LABELLED}", arm="", position="0") == 0


def test_the_slates_of_an_erased_user_are_forgotten() -> None:
    quality, served, other = OnlineQuality(NOW_MS, 100), ranked("erased"), ranked("erased")

    quality.observe([record(served), record(other, subject="s-2"), record(Erasure(NOW_MS))])

    assert quality.entries == 3
    quality.observe([record(event_of(served, "a")), record(event_of(other, "b"))])
    assert value("clicks_total", surface="erased", arm="", position="0") == 0
    assert value("clicks_total", surface="erased", arm="", position="1") == 1


@pytest.mark.parametrize("count", [0, 1, 1_000, 100_000])
def test_different_things_are_counted_within_a_percent(count: int) -> None:
    seen = DailyDistinct()
    for _ in range(2):
        for number in range(count):
            seen.add(f"item-{number}", NOW_MS)

    assert seen.estimate == pytest.approx(count, rel=0.01)


def test_the_day_before_counts_while_the_new_one_is_young_and_older_days_are_over() -> None:
    seen = DailyDistinct()
    for number in range(100):
        seen.add(f"item-{number}", NOW_MS)

    seen.add("item-0", NOW_MS + DAY_MS)
    assert seen.estimate == pytest.approx(100, rel=0.01)
    seen.add("item-0", NOW_MS + 3 * DAY_MS)
    assert seen.estimate == pytest.approx(1, rel=0.01)
