"""Quality against time: what counts as reached, what is timed, and that the points are the training's own models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from services.trainer.evaluation import Metrics, evaluate
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from services.trainer.splits import leave_one_out
from tests.benchmarks.curves import MEASURE, Curve, Point, plot_curves
from tests.benchmarks.own_curve import Stopwatch, own_curve
from tests.benchmarks.rectools_rival import GivenLists
from tests.unit.trainer.data_worlds import checkerboard, walks


def point(cpu_s: float, value: float) -> Point:
    nothing = np.zeros((0, 10), np.int32)
    metrics = Metrics("x", "test", 10, {MEASURE: value}, {}, {}, 0.0, np.zeros(0, np.int64), nothing)
    return Point("fit", 1, cpu_s, cpu_s, metrics)


def test_a_value_is_reached_by_the_first_point_that_is_no_worse() -> None:
    curve = Curve("x", (point(1, 0.1), point(2, 0.3), point(3, 0.2), point(4, 0.3)))

    assert curve.best.cpu_s == 2
    assert curve.reaching(0.15) is curve.points[1]
    assert curve.reaching(0.31) is None


def test_what_is_set_back_is_not_timed() -> None:
    watch, other = Stopwatch(), Stopwatch()
    reading = watch.read()
    sum(number * number for number in range(300_000))

    watch.set_back(reading)

    assert watch.read()[0] < other.read()[0]


def test_lists_of_others_are_measured_user_by_user() -> None:
    split = leave_one_out(checkerboard())
    lists = np.repeat(split.target_items[:, None], 1, axis=1)

    assert evaluate(GivenLists("right", lists, split.user_rows), split, k=1).values["hr@1"] == 1


def test_points_are_the_models_that_the_training_made(tmp_path: Path) -> None:
    settings = replace(TrainingSettings(), preset="tiny", epochs=Epochs(sliced=2, continued=2, ranker=1, patience=2))

    curve, trained = own_curve("ours", walks(), settings, Stopwatch(), silent)
    plot_curves(tmp_path / "curve.png", [curve], "a world")

    assert [each.stage for each in curve.points] == 2 * ["retriever"] + 2 * ["retriever-all"] + ["ranker"]
    assert trained.test.retrieval.values[MEASURE] in [each.value for each in curve.points[2:4]]
    assert sorted(each.cpu_s for each in curve.points) == [each.cpu_s for each in curve.points]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
