"""When the projection counts as ready and as following the log."""

from __future__ import annotations

from services.feature.progress import Progress
from shared.domain.log_replay import LogReplay
from shared.domain.watermark import Watermark


def test_behind_the_head_at_first_sight_the_replay_goes_on() -> None:
    progress = Progress(applied=Watermark.of(5))

    progress.see_head(Watermark.of(10))

    assert not progress.ready
    assert not progress.caught_up


def test_a_head_that_moves_on_does_not_end_following() -> None:
    progress = Progress(applied=Watermark.of(10))
    progress.see_head(Watermark.of(10))

    progress.see_head(Watermark.of(11))

    assert progress.ready
    assert progress.caught_up


def test_what_fails_ends_following_and_not_readiness() -> None:
    progress = Progress(applied=Watermark.of(10))
    progress.see_head(Watermark.of(10))

    progress.failures["log"] = "connection refused"

    assert progress.ready
    assert not progress.caught_up


def test_a_replay_knows_its_way_its_rate_and_the_time_that_is_left() -> None:
    progress = Progress(applied=Watermark(((0, 100), (1, 100))))
    before = progress.replay
    progress.see_head(Watermark(((0, 6_100), (1, 100))))

    progress.advance(Watermark.of(1_100), 1_000, 10_000)
    progress.advance(Watermark.of(3_100), 2_000, 11_000)
    replay = progress.replay

    assert before is None
    assert replay == LogReplay(done=3_200, total=6_200, per_second=2_000.0)
    assert replay.left_ms == 1_500
    assert str(replay) == "replaying the log: 3,200 of 6,200 records, 2,000 a second, 2 seconds left"


def test_a_replay_ends_at_the_head_that_it_first_saw() -> None:
    progress = Progress()
    progress.see_head(Watermark.of(10))
    progress.see_head(Watermark.of(20))

    progress.advance(Watermark.of(10), 10, 0)

    assert progress.replay is None
    assert progress.behind == 10


def test_a_position_in_one_partition_takes_nothing_back_in_another() -> None:
    progress = Progress(applied=Watermark(((0, 2), (1, 1))))

    progress.advance(Watermark(((1, 2),)), 1, 0)

    assert progress.applied == Watermark(((0, 2), (1, 2)))
