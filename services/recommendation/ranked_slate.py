"""A slate in its full order: the first page's record and what its explanations need. Every page is cut from it.

Dimensions: N candidates, S entries of the first page.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from services.recommendation.queries import Entry, ItemSource
from services.recommendation.slate import Adjustment, Rows
from shared.domain.ranking import ScoreParts
from shared.domain.slates import ServedSlate

LOGGED_RULES = "rules"
"""Name of the one adjustment that stands for all rules when a slate is read back from the log."""


@dataclass(frozen=True, slots=True)
class RankedSlate:
    """One ranked slate.

    Attributes:
        served: the record of the first page.
        adjustments: (rule, (N,) factors by row).
        moves: (rule, rows) that a rule put elsewhere than their values would.
        ratings: (N,) expected ratings, or length 0.
        parts: of the logits; None when the first page was not explained.
    """

    served: ServedSlate
    adjustments: tuple[Adjustment, ...] = ()
    moves: tuple[tuple[str, Rows], ...] = ()
    ratings: npt.NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    parts: ScoreParts | None = None

    @property
    def rows(self) -> Rows:
        """(N,) rows of the candidates in the order of all pages."""
        return np.concatenate((self.served.shown_rows, self.served.reserve_rows))

    @classmethod
    def logged(cls, served: ServedSlate) -> RankedSlate:
        """A slate from the log; what its rules did is the quotient of the final and the weighted value."""
        if not any(served.action_weights):
            return cls(served)
        weighted = served.probabilities.astype(np.float64) @ np.array(served.action_weights)  # (N,)
        usable = np.isfinite(weighted) & (weighted != 0)
        factors = np.divide(served.values, weighted, out=np.ones(len(served.values)), where=usable)  # (N,)
        changed = not np.allclose(factors, 1, rtol=1e-6, atol=0)
        return cls(served, ((LOGGED_RULES, factors),) if changed else ())


def entries(slate: RankedSlate, rows: Rows, first_position: int) -> tuple[Entry, ...]:
    """The page's rows as entries, not explained."""
    served = slate.served
    sources = sources_of_rows(served, rows)
    return tuple(
        Entry(served.candidates.item_ids[row], float(served.values[row]), first_position + place, sources[place])
        for place, row in enumerate(rows.tolist())
    )


def sources_of_rows(served: ServedSlate, rows: Rows) -> list[tuple[ItemSource, ...]]:
    """For each row the sources that gave it, with its ranks."""
    found: list[list[ItemSource]] = [[] for _ in rows]
    for hits in served.sources:
        places = np.full(len(served.candidates), -1, np.int32)
        places[hits.rows] = np.arange(len(hits.rows), dtype=np.int32)
        for entry, place in enumerate(places[rows].tolist()):
            if place >= 0:
                found[entry].append(ItemSource(hits.source, place + 1, float(hits.scores[place])))
    return [tuple(each) for each in found]
