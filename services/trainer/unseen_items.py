"""Items of the catalogue that the events to learn from never mention: their content alone speaks for them.

Their ids carry no information, and as negatives they would only learn that nobody wants them, which says nothing about
what is to come. So they are no negatives, and their id vectors and biases are zero.

N items, U of them unseen.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Rows = npt.NDArray[np.int64]


def unseen_rows(item_rows: npt.NDArray[np.integer], items: int) -> Rows:
    """(U,) the rows below N that do not occur among the events' item rows."""
    return np.flatnonzero(np.bincount(item_rows, minlength=items) == 0)


def hide_ids(rows: Rows, *tables: nn.Embedding) -> None:
    """Set what is learned of single ids to zero."""
    with torch.no_grad():
        for table in tables:
            table.weight[torch.from_numpy(rows)] = 0
