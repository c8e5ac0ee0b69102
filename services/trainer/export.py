"""Lists as a file that anyone can score: one line a user, `user_id<TAB>item_id item_id …`, best first."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.evaluation_ranking import NO_ITEM


def write_predictions(
    path: Path, dataset: Dataset, user_rows: npt.NDArray[np.int32], lists: npt.NDArray[np.int32]
) -> None:
    """Write the (S, k) lists of S users.

    Raises:
        DatasetError: an id holds white space, which the form cannot carry.
    """
    _demand_plain("item_id", (dataset.items.ids[row] for row in np.unique(lists[lists != NO_ITEM])))
    _demand_plain("user_id", (dataset.users.ids[row] for row in user_rows))
    item_ids = np.array([*dataset.items.ids, ""], dtype=object)  # NO_ITEM picks the last
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        for user_row, listed in zip(user_rows, lists, strict=True):
            names = " ".join(name for name in item_ids[listed] if name)
            file.write(f"{dataset.users.ids[user_row]}\t{names}\n")
    partial.replace(path)


def _demand_plain(noun: str, names: Iterable[str]) -> None:
    for name in names:
        if len(name.split()) != 1 or name != name.strip():
            raise DatasetError(f"{noun} {name!r} holds white space: predictions cannot be written in this form")
