"""The formula for ratings, r̂ = μ + uᵀi + b_u + b_i + time, with every parameter drawn from its posterior (Gibbs).

Bayesian matrix factorisation (Salakhutdinov & Mnih 2008) whose vectors expect what is known of users and items: the
prior's mean is linear in that knowledge (Macau; Simm et al. 2015). Knowledge holds who rated what at all, which is the
implicit feedback of SVD++ (Koren 2008), on both sides. A user's mood of the day and an item's drift are biases of
their own (timeSVD++; Koren 2009). Averaging draws needs no early stopping and no tuning to the data.

E ratings, N users or items, K facts, D factors; a bias stands beside the factors, so vectors have D + 1 columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

DAY_S = 86_400
DRIFT_DAYS = 21
"""An item's bias may change after so many days."""
_PRIOR_WEIGHT = 2.0  # of the mean vector, in vectors
_NOISE_PRECISION = 1.0  # of ratings in standard deviations, at first
_BIAS_PRECISION = 10.0  # of the biases of moments, at first


@dataclass(frozen=True, slots=True)
class Ratings:
    """E ratings.

    Attributes:
        users, items: (E,) rows.
        values: (E,) finite.
        times_s: (E,) Unix seconds.
    """

    users: Rows
    items: Rows
    values: Doubles
    times_s: Doubles

    def __len__(self) -> int:
        return len(self.users)

    def take(self, chosen: npt.NDArray[np.bool_]) -> Ratings:
        """Some of them."""
        return Ratings(self.users[chosen], self.items[chosen], self.values[chosen], self.times_s[chosen])


@dataclass(frozen=True, slots=True)
class GibbsSettings:
    """How it is fitted.

    Attributes:
        factors: D.
        draws: of all parameters, of which the first `warm_up` are thrown away.
        warm_up: see there.
        link_precision: of the weights of the knowledge.
        moments: whether biases follow the time.
        seed: of the draws.
    """

    factors: int = 16
    draws: int = 120
    warm_up: int = 30
    link_precision: float = 5.0
    moments: bool = True
    seed: int = 0


def foretold(train: Ratings, asked: Ratings, knowledge: tuple[Doubles, Doubles], settings: GibbsSettings) -> Doubles:
    """The values of ratings whose values are not read, within the range of those that are learned from.

    Args:
        train: to learn from.
        asked: to foretell; their times are read, as a server knows the time.
        knowledge: (U, K) facts of every user and (I, K) of every item.
        settings: how.
    """
    if not len(train):
        raise ValueError("there are no ratings to learn from")
    level, spread = float(train.values.mean()), float(train.values.std()) or 1.0
    sampler = _Sampler(train, (train.values - level) / spread, asked, knowledge, settings)
    sums = np.zeros(len(asked))
    for draw in range(settings.draws):
        sampler.draw()
        if draw >= settings.warm_up:
            sums += sampler.said()
    means = level + spread * sums / max(1, settings.draws - settings.warm_up)
    return np.clip(means, train.values.min(), train.values.max())


class _Sampler:
    """The state of the chain."""

    def __init__(
        self,
        train: Ratings,
        values: Doubles,
        asked: Ratings,
        knowledge: tuple[Doubles, Doubles],
        settings: GibbsSettings,
    ) -> None:
        self._train, self._asked, self._values = train, asked, values
        self._rng = np.random.default_rng(settings.seed)
        self._users, self._items = (
            _Side(rows, facts, settings, self._rng)
            for rows, facts in zip((train.users, train.items), knowledge, strict=True)
        )
        both = _moments(train, asked) if settings.moments else []
        self._moments = [_Biases(learned, told) for learned, told in both]
        self._precision = _NOISE_PRECISION

    def draw(self) -> None:
        """Every parameter once, given all others."""
        users, items, train = self._users, self._items, self._train
        users.draw(items.vectors[train.items], self._values - self._of_moments(), self._precision)
        items.draw(users.vectors[train.users], self._values - self._of_moments(), self._precision)
        left = self._values - _products(users, items, train) - self._of_moments()
        for biases in self._moments:
            left += biases.learned()
            biases.draw(left, self._precision, self._rng)
            left -= biases.learned()
        self._precision = self._rng.gamma(1 + len(left) / 2, 1 / (1 + (left**2).sum() / 2))

    def said(self) -> Doubles:
        """What the present parameters foretell, in standard deviations."""
        told = _products(self._users, self._items, self._asked)
        for biases in self._moments:
            told += biases.told()
        return told

    def _of_moments(self) -> Doubles:
        total = np.zeros(len(self._train))
        for biases in self._moments:
            total += biases.learned()
        return total


class _Side:
    """The vectors of all users, or of all items.

    Args:
        rows: (E,) whose rating each is.
        facts: (N, K).
        settings: of the sampler.
        rng: draws.
    """

    def __init__(self, rows: Rows, facts: Doubles, settings: GibbsSettings, rng: np.random.Generator) -> None:
        count, width = len(facts), settings.factors + 1
        self._rng, self._facts, self._ridge = rng, facts, settings.link_precision
        self._order = np.argsort(rows, kind="stable")
        self._offsets = np.concatenate(([0], np.cumsum(np.bincount(rows, minlength=count))))
        self._normal = facts.T @ facts + settings.link_precision * np.eye(facts.shape[1])
        self._link = np.zeros((facts.shape[1], width))
        self._mean, self._precision = np.zeros(width), 10 * np.eye(width)
        self.vectors = rng.normal(scale=0.1, size=(count, width))
        self.vectors[:, -1] = 0

    def draw(self, partners: Doubles, wanted: Doubles, precision: float) -> None:
        """The vectors given those of the other side, then what the vectors are expected to be.

        Args:
            partners: (E, D + 1) the other side's vectors.
            wanted: (E,) what is to be explained.
            precision: of the noise.
        """
        beside = np.concatenate([partners[:, :-1], np.ones((len(partners), 1))], axis=1)[self._order]
        left = (wanted - partners[:, -1])[self._order]  # what the other side's bias leaves
        expected = self._mean + self._facts @ self._link
        squares = np.empty((len(self.vectors), *self._precision.shape))
        sums = expected @ self._precision
        for row, (start, stop) in enumerate(zip(self._offsets[:-1], self._offsets[1:], strict=True)):
            own = beside[start:stop]
            squares[row] = own.T @ own
            sums[row] += precision * (own.T @ left[start:stop])
        self.vectors = _drawn(self._precision + precision * squares, sums, self._rng)
        self._draw_expectation()

    def _draw_expectation(self) -> None:
        rng, (count, width) = self._rng, self.vectors.shape
        off = self.vectors - self._facts @ self._link
        mean, weight = off.mean(axis=0), count + _PRIOR_WEIGHT
        scatter = (off - mean).T @ (off - mean) + _PRIOR_WEIGHT * count / weight * np.outer(mean, mean)
        scatter += self._ridge * self._link.T @ self._link + np.eye(width)
        self._precision = _wishart(np.linalg.inv(scatter), width + count + len(self._link), rng)
        root = np.linalg.cholesky(_symmetric(np.linalg.inv(self._precision)))  # of the covariance
        self._mean = count * mean / weight + root @ rng.normal(size=width) / np.sqrt(weight)
        # The link by noise injection: solving with noise on both sides is a draw from its posterior.
        noisy = self.vectors - self._mean + rng.normal(size=(count, width)) @ root.T
        prior = np.sqrt(self._ridge) * rng.normal(size=self._link.shape) @ root.T
        self._link = np.linalg.solve(self._normal, self._facts.T @ noisy + prior)


class _Biases:
    """One number for each group of ratings; groups that nothing is learned about have 0.

    Args:
        learned: (E,) group of each rating that is learned from.
        told: (n,) of each that is asked for, -1 = a group of its own.
    """

    def __init__(self, learned: Rows, told: Rows) -> None:
        self._learned, self._told = learned, told
        self._counts = np.bincount(learned)
        self._values = np.zeros(len(self._counts))
        self._precision = _BIAS_PRECISION

    def draw(self, left: Doubles, noise: float, rng: np.random.Generator) -> None:
        """Given (E,) what the other parameters leave, and the noise's precision."""
        precision = self._precision + noise * self._counts
        mean = noise * np.bincount(self._learned, left) / precision
        self._values = mean + rng.normal(size=len(mean)) / np.sqrt(precision)
        self._precision = rng.gamma(1 + len(mean) / 2, 1 / (1 + (self._values**2).sum() / 2))

    def learned(self) -> Doubles:
        """(E,) of those that are learned from."""
        return self._values[self._learned]

    def told(self) -> Doubles:
        """(n,) of those that are asked for."""
        return np.where(self._told >= 0, self._values[np.maximum(self._told, 0)], 0)


def _moments(train: Ratings, asked: Ratings) -> list[tuple[Rows, Rows]]:
    """Groups of ratings: a user's of one day, and an item's of some weeks."""
    first = float(train.times_s.min())
    groups = []
    for name, seconds in (("users", DAY_S), ("items", DRIFT_DAYS * DAY_S)):
        keys = [
            np.stack([getattr(part, name), (part.times_s - first) // seconds], axis=1).astype(np.int64)
            for part in (train, asked)
        ]
        known, learned = np.unique(keys[0], axis=0, return_inverse=True)
        place = {tuple(key): row for row, key in enumerate(known.tolist())}
        told = np.array([place.get(tuple(key), -1) for key in keys[1].tolist()], np.int64)
        groups.append((learned.reshape(-1).astype(np.int64), told))
    return groups


def _products(users: _Side, items: _Side, ratings: Ratings) -> Doubles:
    """(E,) uᵀi + b_u + b_i."""
    own, other = users.vectors[ratings.users], items.vectors[ratings.items]
    said: Doubles = (own[:, :-1] * other[:, :-1]).sum(axis=1) + own[:, -1] + other[:, -1]
    return said


def _drawn(precisions: Doubles, sums: Doubles, rng: np.random.Generator) -> Doubles:
    """(N, d) draws from N(P⁻¹s, P⁻¹) for (N, d, d) precisions and (N, d) sums."""
    means = np.linalg.solve(precisions, sums[..., None])[..., 0]
    roots = np.swapaxes(np.linalg.cholesky(precisions), 1, 2)
    drawn: Doubles = means + np.linalg.solve(roots, rng.normal(size=(*sums.shape, 1)))[..., 0]
    return drawn


def _wishart(scale: Doubles, degrees: int, rng: np.random.Generator) -> Doubles:
    """A draw by Bartlett's decomposition."""
    width = len(scale)
    lower = np.tril(rng.normal(size=(width, width)), -1)
    lower[np.diag_indices(width)] = np.sqrt(rng.chisquare(degrees - np.arange(width)))
    root = np.linalg.cholesky(_symmetric(scale)) @ lower
    drawn: Doubles = root @ root.T
    return drawn


def _symmetric(matrix: npt.NDArray[np.floating]) -> Doubles:
    """Without what rounding has made of it."""
    even: Doubles = ((matrix + matrix.T) / 2).astype(np.float64)
    return even
