"""Exported lists, scored by somebody else.

WINNOW_TEST_SCORER may name another scorer of the same form; without it the repository's own independent one is asked.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.trainer.baselines.popularity import Popularity
from services.trainer.baselines.scoring import ScoringRecommender, TrainingSet
from services.trainer.datasets import Dataset, DatasetError
from services.trainer.evaluation import evaluate
from services.trainer.export import write_predictions
from services.trainer.interchange_writing import write_interactions
from services.trainer.splits import Split, leave_one_out, time_split
from tests.unit.trainer.data_worlds import dataset_of, random_dataset, sequences_dataset

OWN_SCORER = Path(__file__).parents[2] / "benchmarks" / "independent_scorer.py"
SPLITS = {
    "test": leave_one_out,
    "val": lambda data: leave_one_out(data, "validation"),
    "time": time_split,
}


def scored(scorer: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    files = [str(folder / "interactions.csv.gz"), str(folder / "predictions.tsv")]
    return subprocess.run([sys.executable, str(scorer), *files, *options], capture_output=True, text=True, check=False)


def exported(data: Dataset, split: Split, folder: Path) -> dict[str, float]:
    """Write popularity's lists and the data; gives our own measures of them."""
    variants = Popularity().fit(TrainingSet.of(split))
    measured = evaluate(ScoringRecommender("popularity", variants["all time"]()), split)
    write_interactions(data, folder / "interactions.csv.gz")
    write_predictions(folder / "predictions.tsv", data, split.user_rows, measured.lists)
    return measured.values


@pytest.mark.parametrize("scorer", [OWN_SCORER, Path(os.environ.get("WINNOW_TEST_SCORER", OWN_SCORER))],
                         ids=["own", "given"])  # fmt: skip
@pytest.mark.parametrize("split", SPLITS)
def test_an_independent_scorer_agrees_to_the_last_digit(tmp_path: Path, split: str, scorer: Path) -> None:
    data = random_dataset(np.random.default_rng(11))

    ours = exported(data, SPLITS[split](data), tmp_path)
    theirs: dict[str, Any] = json.loads(scored(scorer, tmp_path, "--split", split).stdout)

    assert ours["hr@10"] > 0
    assert {name: theirs[name] for name in ("hr10", "ndcg10", "coverage10")} == {
        name: round(ours[measure], 5) for name, measure in (("hr10", "hr@10"), ("ndcg10", "ndcg@10"),
                                                            ("coverage10", "coverage@10"))
    }  # fmt: skip
    assert theirs["users"] == len(SPLITS[split](data))


def test_the_independent_scorer_gives_what_was_worked_out_by_hand(tmp_path: Path) -> None:
    # Targets: d, e and c. u finds d second, v finds e first, w misses c; two users alone are too short to be asked.
    data = sequences_dataset({"u": "abcd", "v": "abe", "w": "bac", "short": "ab"})
    write_interactions(data, tmp_path / "interactions.csv.gz")
    (tmp_path / "predictions.tsv").write_text("u\te d\nv\te c\nw\te d\n")

    said = json.loads(scored(OWN_SCORER, tmp_path, "--k", "2").stdout)

    assert said == {
        "users": 3, "hr2": round(2 / 3, 5), "ndcg2": round((1 + 1 / math.log2(3)) / 3, 5),
        "coverage2": round(3 / 5, 5), "items": 5, "split": "test",
    }  # fmt: skip


@pytest.mark.parametrize(
    "lists",
    ["u\te a\nv\te c\nw\te d\n", "u\te d\nv\te c\n", "u\te e\nv\te c\nw\te d\n", "u\te x\nv\te c\nw\te d\n"],
    ids=["seen", "missing user", "repeated", "unknown"],
)
def test_the_independent_scorer_refuses_malformed_lists(tmp_path: Path, lists: str) -> None:
    data = sequences_dataset({"u": "abcd", "v": "abe", "w": "bac"})
    write_interactions(data, tmp_path / "interactions.csv.gz")
    (tmp_path / "predictions.tsv").write_text(lists)

    assert scored(OWN_SCORER, tmp_path, "--k", "2").returncode == 1


def test_the_file_has_one_line_a_user_best_first_without_open_places(tmp_path: Path) -> None:
    data = sequences_dataset({"u": "abc", "v": "bca"})

    write_predictions(tmp_path / "p.tsv", data, np.array([1, 0], np.int32), np.array([[2, 0], [1, -1]], np.int32))

    assert (tmp_path / "p.tsv").read_text() == "v\tc a\nu\tb\n"


def test_an_id_with_white_space_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    data = dataset_of([("u", "two words", 1)])

    with pytest.raises(DatasetError, match="item_id 'two words' holds white space"):
        write_predictions(tmp_path / "p.tsv", data, np.array([0], np.int32), np.array([[0]], np.int32))

    assert list(tmp_path.iterdir()) == []
