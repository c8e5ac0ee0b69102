"""Slots that are left to chance: an under-exposed candidate in place of the ranked one, with its exact probability.

Epsilon: the slot is explored with a fixed probability, and then every choice is as likely as the other.

Thompson: a success rate is drawn for every choice from its Beta posterior, and the greatest wins (Thompson 1933). The
posterior is a histogram over cells that are finer towards 0, so the probability that a choice wins is exact: within a
cell each distribution function is linear, hence their product a polynomial, which Gauss-Legendre nodes integrate
without error.

All random numbers come from the slate's seed, so a replay makes the same choices.

Dimensions: M choices of one slot, C cells, G nodes a cell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from services.recommendation.exploration_settings import Exploration, Method
from services.recommendation.slate import Order, Rows
from shared.domain.slates import Evidence

RULE = "exploration"
CELLS = 100

Floats = npt.NDArray[np.float64]

_EDGES: Floats = (np.arange(CELLS + 1) / CELLS) ** 2  # (C + 1,)


def explored(order: Order, evidence: Evidence, settings: Exploration, page_size: int, seed: int) -> Order:
    """The order with its slots filled by chance.

    Args:
        order: of all candidates; what a rule moved stays at its place.
        evidence: of the candidates that may fill a slot.
        settings: of the surface.
        page_size: slots lie on the first page only; one that pins push off it is left out.
        seed: of all random numbers.
    """
    page_size = min(page_size, len(order.rows))
    slots = settings.positions(page_size)
    if not slots or not len(evidence):
        return order
    moved = np.concatenate([rows for _, rows in order.moves]) if order.moves else np.empty(0, np.int32)
    places = np.flatnonzero(~np.isin(order.rows, moved))  # positions that no rule has taken
    draw = _Draw(order.rows[places].tolist(), evidence, settings, np.random.default_rng(seed))
    propensities = np.ones(len(order.rows), np.float32)
    for place in dict.fromkeys(np.searchsorted(places, slots).tolist()):
        if place < len(places) and places[place] < page_size:
            propensities[places[place]] = draw.fill(place)
    rows = order.rows.copy()
    rows[places] = draw.rows
    chosen = (RULE, np.array(draw.chosen, np.int32))
    return replace(order, rows=rows, moves=(*order.moves, chosen), propensities=propensities)


class _Draw:
    """The entries while slots are filled from top to bottom."""

    def __init__(self, rows: list[int], evidence: Evidence, settings: Exploration, random: np.random.Generator) -> None:
        self.rows = rows
        self.chosen: list[int] = []
        self._places = {row: place for place, row in enumerate(evidence.rows.tolist())}
        self._evidence = evidence
        self._settings = settings
        self._random = random

    def fill(self, place: int) -> float:
        """Fill one slot; the probability of what stands there now, given what stands above."""
        choices = [row for row in self.rows[place:] if row in self._places][: self._settings.candidates]
        if not choices:
            return 1.0
        ranked, probability = self.rows[place], self._settings.probability
        explores = bool(self._random.random() < probability)
        winner, shares = self._choose(choices)
        row = choices[winner] if explores else ranked
        if explores:
            self.chosen.append(row)
            self.rows.remove(row)
            self.rows.insert(place, row)
        by_chance = float(shares[choices.index(row)]) if row in choices else 0.0
        return probability * by_chance + (1 - probability) * (row == ranked)

    def _choose(self, choices: list[int]) -> tuple[int, Floats]:
        """Which choice wins, and the (M,) probabilities with which each would."""
        if self._settings.method is Method.EPSILON:
            return int(self._random.integers(len(choices))), np.full(len(choices), 1 / len(choices))
        places = [self._places[row] for row in choices]
        successes = self._evidence.successes[places].astype(np.float64)
        failures = np.maximum(self._evidence.exposures[places] - successes, 0)
        masses = posterior(self._settings.prior_successes + successes, self._settings.prior_failures + failures)
        drawn = [np.interp(self._random.random(), each, _EDGES) for each in _distribution(masses)]
        return int(np.argmax(drawn)), win_probabilities(masses)


def posterior(alphas: Floats, betas: Floats) -> Floats:
    """(M, C) masses of the cells under each choice's Beta distribution."""
    middles, widths = (_EDGES[1:] + _EDGES[:-1]) / 2, np.diff(_EDGES)
    logs = (alphas[:, None] - 1) * np.log(middles) + (betas[:, None] - 1) * np.log1p(-middles)
    masses = np.exp(logs - logs.max(axis=1, keepdims=True)) * widths
    return np.asarray(masses / masses.sum(axis=1, keepdims=True))


def win_probabilities(masses: Floats) -> Floats:
    """(M,) probability that each choice draws the greatest rate, from the (M, C) masses of its cells."""
    count = len(masses)
    nodes, weights = np.polynomial.legendre.leggauss((count + 1) // 2)  # exact up to degree M − 1
    inside, weights = (nodes + 1) / 2, weights / 2  # (G,) within a cell
    below = _distribution(masses)[:, :-1, None] + masses[:, :, None] * inside  # (M, C, G) P(rate ≤ x)
    ones = np.ones((1, *below.shape[1:]))
    before = np.cumprod(np.concatenate((ones, below[:-1])), axis=0)
    behind = np.cumprod(np.concatenate((ones, below[:0:-1])), axis=0)[::-1]
    return np.asarray(np.einsum("mc,mcg,mcg,g->m", masses, before, behind, weights))


def _distribution(masses: Floats) -> Floats:
    """(M, C + 1) the distribution functions at the cells' edges."""
    return np.concatenate((np.zeros((len(masses), 1)), np.cumsum(masses, axis=1)), axis=1)


def under_exposed(
    exposures: npt.NDArray[np.float32], successes: npt.NDArray[np.float32], eligible: npt.NDArray[np.bool_],
    settings: Exploration,
) -> Evidence:  # fmt: skip
    """The candidates that may fill a slot, with what is known of them; all arguments by row, (N,)."""
    chosen = eligible & (exposures < settings.exposure_budget) & (successes < settings.success_budget)
    rows: Rows = np.flatnonzero(chosen).astype(np.int32)
    return Evidence(rows, exposures[rows], successes[rows])
