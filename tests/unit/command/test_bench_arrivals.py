"""The load generator's schedule."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.command.bench.arrivals import Phase, poisson_arrivals

PHASES = st.lists(
    st.builds(Phase, rate=st.floats(0.1, 500), seconds=st.floats(1, 20)), min_size=1, max_size=4
)  # fmt: skip


@given(PHASES, st.integers(0, 1000))
def test_every_arrival_lies_in_its_phase_in_order(phases: list[Phase], seed: int) -> None:
    arrivals = poisson_arrivals(phases, 1.0, np.random.default_rng(seed))
    ends = np.cumsum([phase.seconds for phase in phases])
    begins = ends - [phase.seconds for phase in phases]

    assert (np.diff(arrivals.due_s) >= 0).all()
    assert (arrivals.due_s >= begins[arrivals.phases]).all()
    assert (arrivals.due_s <= ends[arrivals.phases]).all()


def test_the_same_seed_gives_the_same_arrivals() -> None:
    phases = [Phase(100, 5)]
    first, second = (poisson_arrivals(phases, 1.0, np.random.default_rng(7)) for _ in range(2))

    assert first.due_s.tolist() == second.due_s.tolist()
    assert first.due_s.tolist() != poisson_arrivals(phases, 1.0, np.random.default_rng(8)).due_s.tolist()


def test_gaps_are_exponential_with_the_rates_mean() -> None:
    gaps = np.diff(poisson_arrivals([Phase(200, 100)], 1.0, np.random.default_rng(1)).due_s)

    assert abs(gaps.mean() - 1 / 200) < 3 * gaps.std() / np.sqrt(len(gaps))
    assert abs(gaps.std() / gaps.mean() - 1) < 0.05  # of an exponential they are equal; of a steady beat this is 0


def test_processes_share_the_rate() -> None:
    whole = sum(len(poisson_arrivals([Phase(300, 60)], 0.25, np.random.default_rng((3, n)))) for n in range(4))

    assert abs(whole - 300 * 60) < 4 * np.sqrt(300 * 60)
