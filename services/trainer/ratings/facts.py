"""What is known of users and items beside the ratings' values: their details, and who rated what at all.

U users, I items, K facts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Dataset
from services.trainer.ratings.factorisation import Doubles, Ratings
from shared.domain.items import Item
from shared.model.item_features import ItemFeaturizer

DETAILS = 1_000
"""Facts from details at most, the most frequent ones."""
PARTNERS = 2_000
"""Facts "has rated this item" at most, of the items rated most; and of users likewise."""


def facts(dataset: Dataset, train: Ratings) -> tuple[Doubles, Doubles]:
    """(U, K) of users and (I, K) of items; of ratings only those that are learned from are read."""
    people = [Item(user.user_id, tags=user.interest_tags, attributes=user.attributes) for user in dataset.user_details]
    counts = len(dataset.users), len(dataset.items)
    users = [details(people), partners(train.users, train.items, counts)]
    items = [details(dataset.item_details), partners(train.items, train.users, counts[::-1])]
    return np.concatenate(users, axis=1), np.concatenate(items, axis=1)


def details(described: Sequence[Item]) -> Doubles:
    """(N, K) features of the descriptions; rows of what has none are 0."""
    featurizer = ItemFeaturizer.fit(described, DETAILS)
    bags = featurizer.bags(described)
    matrix = np.zeros((len(described), len(featurizer.names)))
    matrix[np.repeat(np.arange(len(described)), np.diff(bags.offsets)), bags.ids] = bags.weights
    return matrix


def partners(own: npt.NDArray[np.int64], others: npt.NDArray[np.int64], counts: tuple[int, int]) -> Doubles:
    """(N, K) whom each has to do with, as rows of length 1; N and the number of others are `counts`."""
    often = np.bincount(others, minlength=counts[1])
    kept = np.argsort(-often, kind="stable")[:PARTNERS]
    column = np.full(counts[1], -1)
    column[kept] = np.arange(len(kept))
    matrix = np.zeros((counts[0], len(kept)))
    known = column[others] >= 0
    matrix[own[known], column[others[known]]] = 1
    lengths: Doubles = np.sqrt(np.maximum(matrix.sum(axis=1, keepdims=True), 1))
    matrix /= lengths
    return matrix
