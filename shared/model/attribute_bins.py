"""Typed attributes as features: text and truth values by what they say, numbers by their bin.

Numbers are cut at the quantiles of the training data.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from shared.domain.items import Scalar
from shared.model.bundle import read_strings, write_strings

Edges = dict[str, tuple[float, ...]]
"""Bin edges of each numeric attribute, ascending."""

_QUANTILES = np.linspace(0, 1, 9)[1:-1]


def fit_edges(described: Iterable[Mapping[str, Scalar]]) -> Edges:
    """The edges of every attribute that holds numbers, from the attributes of all items or all users."""
    numbers: dict[str, list[float]] = {}
    for attributes in described:
        for name, value in attributes.items():
            if not isinstance(value, (str, bool)) and np.isfinite(value):
                numbers.setdefault(name, []).append(value)
    return {
        name: tuple(np.unique(np.quantile(values, _QUANTILES)).tolist()) for name, values in sorted(numbers.items())
    }


def attribute_feature(name: str, value: Scalar, edges: Edges) -> str:
    """The feature that an attribute with this value is."""
    if isinstance(value, (str, bool)) or name not in edges:
        return f"attribute:{name}={value}"
    return f"attribute:{name}=bin{np.searchsorted(edges[name], value, side='right')}"


def write_edges(file: Path, edges: Edges) -> None:
    """Write edges into a file of a bundle."""
    write_strings(file, tuple(json.dumps([name, cuts]) for name, cuts in edges.items()))


def read_edges(file: Path) -> Edges:
    """Read what `write_edges` wrote."""
    return {name: tuple(cuts) for name, cuts in map(json.loads, read_strings(file))}
