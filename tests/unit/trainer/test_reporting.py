"""What was measured, for a person and for a program."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from services.trainer.baselines.registry import fit_baseline
from services.trainer.evaluation import Metrics, evaluate
from services.trainer.metrics_calibration import reliability
from services.trainer.reporting import metrics_table, slices_table, write_metrics
from services.trainer.reporting_plots import PlotsUnavailableError, plot_accuracy, plot_ranks, plot_reliability
from services.trainer.splits import leave_one_out
from tests.unit.trainer.data_worlds import random_dataset

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def measured() -> list[Metrics]:
    data = random_dataset(np.random.default_rng(0))
    split, validation = leave_one_out(data), leave_one_out(data, "validation")
    names = ("popularity", "item-knn")
    return [evaluate(fit_baseline(name, split, validation).recommender, split, recall_at=(20,)) for name in names]


def shown(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=300)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_has_one_row_a_model_with_means_and_intervals(measured: list[Metrics]) -> None:
    text = shown(metrics_table(measured, "baselines"))

    low, high = measured[1].intervals["ndcg@10"]
    assert "item-knn" in text
    assert f"{measured[1].values['ndcg@10']:.4f} {low:.4f}–{high:.4f}" in text
    assert "recall@20" in text


def test_the_slices_have_their_own_table(measured: list[Metrics]) -> None:
    text = shown(slices_table(measured))

    assert text.count("same day") == 2
    assert f"{measured[0].slices['same day'].values['ndcg@10']:.4f}" in text


def test_metrics_json_holds_what_was_measured_and_with_what(measured: list[Metrics], tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.json", measured, {"data": "world", "seed": 0})

    document = json.loads((tmp_path / "metrics.json").read_text())
    assert document["context"] == {"data": "world", "seed": 0}
    assert [record["model"] for record in document["metrics"]] == ["popularity", "item-knn"]
    assert document["metrics"][0]["values"] == measured[0].values
    assert document["metrics"][0]["intervals_95"]["hr@10"] == list(measured[0].intervals["hr@10"])
    assert document["metrics"][0]["slices"]["same day"]["users"] == measured[0].slices["same day"].users
    assert not list(tmp_path.glob("*.partial"))


def test_a_model_without_a_hit_has_no_share_in_the_file(measured: list[Metrics], tmp_path: Path) -> None:
    nothing = replace(measured[0], ranks=np.zeros_like(measured[0].ranks))

    write_metrics(tmp_path / "metrics.json", [nothing, measured[1]], {})

    (difference,) = json.loads((tmp_path / "metrics.json").read_text())["differences"]
    assert difference["relative"] is None


def test_plots_are_pictures(measured: list[Metrics], tmp_path: Path) -> None:
    plot_accuracy(tmp_path / "accuracy.png", measured)
    plot_ranks(tmp_path / "ranks.png", measured)
    plot_reliability(tmp_path / "click.png", reliability(np.array([0.1, 0.9]), np.array([False, True])), "click")

    assert [path.read_bytes()[:8] for path in sorted(tmp_path.iterdir())] == [PNG] * 3


def test_without_matplotlib_there_is_a_clear_word(
    measured: list[Metrics], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)

    with pytest.raises(PlotsUnavailableError, match=r"pip install 'winnow\[plots\]'"):
        plot_ranks(tmp_path / "ranks.png", measured)
