"""When the projection counts as ready and as following the log."""

from __future__ import annotations

from services.feature.progress import Progress
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


def test_a_position_in_one_partition_takes_nothing_back_in_another() -> None:
    progress = Progress(applied=Watermark(((0, 2), (1, 1))))

    progress.advance(Watermark(((1, 2),)), 1, 0)

    assert progress.applied == Watermark(((0, 2), (1, 2)))
