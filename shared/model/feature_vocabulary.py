"""The features that training has found, of items and of users alike: which ones exist, and how a bundle keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.domain.vocabulary import Vocabulary
from shared.model.attribute_bins import Edges, read_edges, write_edges
from shared.model.bundle import Bundle, read_strings, write_strings


@dataclass(frozen=True, slots=True)
class FeatureFiles:
    """Where a bundle keeps one side's features.

    Attributes:
        names: the file of the features' names, in order of their rows.
        edges: the file of the bin edges of numeric attributes.
    """

    names: str
    edges: str

    def load(self, bundle: Bundle) -> tuple[Vocabulary, Edges]:
        """Names and edges of a bundle."""
        return Vocabulary(read_strings(bundle.file(self.names))), read_edges(bundle.file(self.edges))

    def save(self, folder: Path, names: Vocabulary, edges: Edges) -> None:
        """Write them into a bundle's folder."""
        write_strings(folder / self.names, names.ids)
        write_edges(folder / self.edges, edges)


def frequent_names(described: Iterable[Iterable[tuple[str, str]]], limit: int, least: int) -> Vocabulary:
    """The features that are worth a row, in order of their names.

    Args:
        described: the features of each item or user as (group, name); repeats of one of them count once.
        limit: keep at most this many, the most frequent ones.
        least: items or users that must have a feature.
    """
    counts = Counter(name for features in described for _, name in set(features))
    return Vocabulary(sorted(name for name, count in counts.most_common(limit) if count >= least))
