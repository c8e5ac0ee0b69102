"""`winnow evaluate --stage rating`: how far off foretold ratings are."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from services.command.output import Bars, fail, show, table

if TYPE_CHECKING:
    from services.trainer.datasets import Dataset

STAGE = "rating"


def evaluate_ratings(dataset: Dataset, aside: Dataset | None, output: Path | None, as_json: bool) -> None:
    """Measure the factorisation formula on the ratings of a data set.

    Args:
        dataset: holds all ratings.
        aside: those of them to be foretold from the others; None: five random folds, each from the other four.
        output: write the measurement here, as JSON.
        as_json: print JSON instead of a table.
    """
    from services.trainer.datasets import DatasetError
    from services.trainer.ratings.factorisation import GibbsSettings
    from services.trainer.ratings.measuring import held_out, measure_ratings, random_folds, ratings_of

    settings = GibbsSettings()
    try:
        with Bars() as bars:
            parts = [held_out(dataset, aside)] if aside else random_folds(len(ratings_of(dataset)), settings.seed)
            measured = measure_ratings(dataset, parts, settings, bars)
    except DatasetError as error:
        raise fail(str(error), 2) from error
    record = {"data": dataset.name, "stage": STAGE, "held_out": "file" if aside else "random folds", **asdict(measured)}
    if output:
        output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    low, high = measured.interval
    row = [measured.ratings, measured.rmse, f"{low:.4f}–{high:.4f}", measured.mae,
           ", ".join(f"{fold:.4f}" for fold in measured.folds)]  # fmt: skip
    show(as_json, record, table(f"{dataset.name}, ratings", ["ratings", "rmse", "95 %", "mae", "by part"], [row]))
