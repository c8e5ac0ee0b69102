"""Which part of the event log a data set is, and whether a bundle can go on from there.

A bundle goes on honestly when everything it was trained on lies before the new events: then they are new to it, can
teach it, and a few of them that nobody learns from can tell whether it became better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import DatasetError
from services.trainer.slates import NO_ANSWERS, Answers
from shared.domain.watermark import Watermark
from shared.model.manifest import Manifest


@dataclass(frozen=True, slots=True)
class LogExtent:
    """What a data set holds of the event log.

    Attributes:
        watermark: position that it includes; "" for data from files.
        since: only events behind this position are learned from, the others are context; "" = all are.
        new: (E,) which events of the data set lie behind it; None without `since`.
        answers: the slates that the log holds, with what followed.
    """

    watermark: str = ""
    since: str = ""
    new: npt.NDArray[np.bool_] | None = None
    answers: Answers = NO_ANSWERS


FILES = LogExtent()
"""Data that come from no log."""


def new_events(extent: LogExtent) -> npt.NDArray[np.bool_]:
    """(E,) the events to go on with.

    Raises:
        DatasetError: the watermark is none, or of another log, or nothing came after it.
    """
    since, head = _position(extent.since), _position(extent.watermark)
    if not head.covers(since):
        raise DatasetError(
            f"--since {extent.since} is not of this log, which ends at {extent.watermark}; pass a position that "
            "`winnow record` or the manifest of a bundle gave, or `bundle` for that of the served one"
        )
    if extent.new is None or not extent.new.any():
        raise DatasetError(f"the log holds no event after {extent.since} that teaches anything; nothing to go on with")
    return extent.new


def check_unseen(manifest: Manifest, extent: LogExtent) -> None:
    """Refuse when a bundle has seen events that would count as new.

    Raises:
        DatasetError: it has, or it was trained on another log.
    """
    seen = _position(manifest.watermark)
    if not _position(extent.watermark).covers(seen):
        raise DatasetError(
            f"bundle {manifest.version} was trained on a log up to {manifest.watermark}, and this one ends at "
            f"{extent.watermark}: it is another log; train without --since"
        )
    if not _position(extent.since).covers(seen):
        raise DatasetError(
            f"bundle {manifest.version} has seen the log up to {manifest.watermark}, so events after {extent.since} "
            f"are not all new to it; pass --since {manifest.watermark}"
        )


def _position(text: str) -> Watermark:
    try:
        return Watermark.parse(text)
    except ValueError as error:
        raise DatasetError(str(error)) from error
