"""Counts of a load that several processes share."""

from __future__ import annotations

import math
import pickle

from services.command.bench.arrivals import Phase
from services.command.bench.report import record_of
from services.command.bench.tally import LONGEST_US, Tally, percentile_ms, record_us


def tally(*latencies_ms: float) -> Tally:
    made = Tally(sent=len(latencies_ms) + 1)
    for latency_ms in latencies_ms:
        record_us(made.latency, latency_ms * 1e3)
    made.codes["OVERLOADED"] = 1
    made.stage_ms["rank"] = 2.5 * len(latencies_ms)  # type: ignore[assignment]
    return made


def test_two_parts_add_up_to_what_one_process_would_have_counted() -> None:
    parts, whole = tally(1, 5), tally(1, 5, 9, 200)
    parts.add(tally(9, 200))

    for percentile in (0, 50, 75, 100):
        assert percentile_ms(parts.latency, percentile) == percentile_ms(whole.latency, percentile)
    assert (parts.answered, parts.sent, parts.codes["OVERLOADED"]) == (4, 6, 2)
    assert parts.stage_ms == whole.stage_ms


def test_a_tally_survives_the_way_between_processes() -> None:
    sent = tally(1.25, 77)
    arrived = pickle.loads(pickle.dumps(sent))  # noqa: S301 - our own bytes

    assert record_of(Phase(2, 1), arrived) == record_of(Phase(2, 1), sent)


def test_a_percentile_is_exact_to_a_thousandth() -> None:
    counted = tally(*range(1, 1001))

    assert math.isclose(percentile_ms(counted.latency, 99) or 0, 990, rel_tol=1e-3)


def test_what_is_out_of_range_counts_as_its_end() -> None:
    counted = tally(0, 10 * LONGEST_US)

    assert percentile_ms(counted.latency, 0) == 0.001
    assert math.isclose(percentile_ms(counted.latency, 100) or 0, LONGEST_US / 1e3, rel_tol=1e-3)


def test_a_phase_without_answers_has_no_latency_and_no_means() -> None:
    record = record_of(Phase(5, 1), Tally(sent=5))

    assert record["latency_ms"]["p50"] is None
    assert (record["ranked_mean"], record["stage_mean_ms"]) == (None, {})
