"""What an item is made of, as numbers: categories, tags, creator, attributes and title words become a weighted bag.

A feature is a string such as `category:Horror`; the training data decides which ones exist. A new item is described by
the same features, so it has a vector before anybody has seen it. N items, F features.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.domain.items import Item
from shared.domain.vocabulary import UNKNOWN_ROW, Vocabulary
from shared.model.attribute_bins import Edges, attribute_feature, fit_edges
from shared.model.bundle import Bundle
from shared.model.feature_vocabulary import FeatureFiles, frequent_names
from shared.model.text_form import normalised_item

FILES = FeatureFiles("features.jsonl", "edges.jsonl")
_WORD = re.compile(r"\w+")
_MIN_ITEMS = 2  # a feature of a single item says no more than the item's id

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Bags:
    """The features of N items in CSR form.

    Attributes:
        offsets: (N + 1,) int64.
        ids: (nnz,) int64 feature rows.
        weights: (nnz,) float32; each group (categories, words, …) of an item has norm 1.
    """

    offsets: Rows
    ids: Rows
    weights: Floats

    @classmethod
    def of(cls, described: Iterable[Iterable[tuple[str, str]]], names: Vocabulary) -> Bags:
        """From the features of each item as (group, name); those without a row in `names` are left out."""
        offsets, ids, weights = [0], [], []
        for features in described:
            groups: dict[str, list[int]] = {}
            for group, name in dict.fromkeys(features):
                row = names.row(name)
                if row != UNKNOWN_ROW:
                    groups.setdefault(group, []).append(row)
            for rows in groups.values():
                ids.extend(rows)
                weights.extend([len(rows) ** -0.5] * len(rows))
            offsets.append(len(ids))
        return cls(np.array(offsets, np.int64), np.array(ids, np.int64), np.array(weights, np.float32))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: Rows) -> Bags:
        """The bags of some items, (M,); those of unknown rows (-1) are empty."""
        known = np.where(rows == UNKNOWN_ROW, 0, rows)
        counts = np.where(rows == UNKNOWN_ROW, 0, np.diff(self.offsets)[known] if len(self) else 0)
        offsets = np.concatenate(([0], np.cumsum(counts)))
        entries = np.arange(offsets[-1]) + np.repeat((self.offsets[known] if len(self) else 0) - offsets[:-1], counts)
        return Bags(offsets, self.ids[entries], self.weights[entries])

    def followed_by(self, others: Bags) -> Bags:
        """These bags and then those."""
        offsets = np.concatenate([self.offsets, others.offsets[1:] + self.offsets[-1]])
        return Bags(offsets, np.concatenate([self.ids, others.ids]), np.concatenate([self.weights, others.weights]))


@dataclass(frozen=True, slots=True)
class ItemFeaturizer:
    """Turns items into bags with the features that training has found.

    Attributes:
        names: the features; row i is feature i.
        edges: bin edges of each numeric attribute, ascending.
    """

    names: Vocabulary
    edges: Edges

    @classmethod
    def fit(cls, items: Sequence[Item], limit: int) -> ItemFeaturizer:
        """Find the features of a catalogue.

        Args:
            items: the catalogue.
            limit: keep at most this many features, the most frequent ones.
        """
        items = [normalised_item(item) for item in items]
        edges = fit_edges(item.attributes for item in items)
        return cls(frequent_names((_features(item, edges) for item in items), limit, _MIN_ITEMS), edges)

    @classmethod
    def load(cls, bundle: Bundle) -> ItemFeaturizer:
        """Open that of a bundle."""
        return cls(*FILES.load(bundle))

    def save(self, folder: Path) -> None:
        """Write it into a bundle's folder."""
        FILES.save(folder, self.names, self.edges)

    def bags(self, items: Sequence[Item]) -> Bags:
        """The bags of items, row-aligned; features that training has not seen are left out."""
        return Bags.of((_features(normalised_item(item), self.edges) for item in items), self.names)


def _features(item: Item, edges: Edges) -> Iterator[tuple[str, str]]:
    """The features of one item as (group, name)."""
    for category in item.categories:
        yield "category", f"category:{category}"
    for tag in item.tags:
        yield "tag", f"tag:{tag}"
    if item.creator_id:
        yield "creator", f"creator:{item.creator_id}"
    for name, value in item.attributes.items():
        yield f"attribute:{name}", attribute_feature(name, value, edges)
    for word in _WORD.findall(item.title.lower()):
        yield "word", f"word:{word}"
