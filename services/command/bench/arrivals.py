"""When requests are sent: a Poisson process whose rate changes from phase to phase.

The times are fixed before the first request and do not wait for answers (open loop): a server that stalls gets the
requests of the meantime all the same, and each one's latency counts from the moment it was due. A closed loop would
leave them out of the statistics ("coordinated omission", Tene 2013, "How NOT to Measure Latency").
A arrivals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of time with one rate.

    Attributes:
        rate: requests a second on average.
        seconds: how long.
    """

    rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What is due when.

    Attributes:
        due_s: (A,) float64 ascending seconds from the begin.
        phases: (A,) int64 index of each arrival's phase.
    """

    due_s: npt.NDArray[np.float64]
    phases: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.due_s)


def poisson_arrivals(phases: Sequence[Phase], share: float, rng: np.random.Generator) -> Arrivals:
    """Draw the arrivals of one process.

    Args:
        phases: in order.
        share: this process's part of the rate; independent Poisson processes add up to one with the sum of their rates.
        rng: draws the gaps.
    """
    due, index, begin = [], [], 0.0
    for number, phase in enumerate(phases):
        count = rng.poisson(phase.rate * share * phase.seconds)
        due.append(begin + np.sort(rng.uniform(0, phase.seconds, count)))  # given their number, times are uniform
        index.append(np.full(count, number))
        begin += phase.seconds
    return Arrivals(np.concatenate(due), np.concatenate(index))
