"""Scoring in fixed shapes: padding and a compiler change no score, and what is too large runs as it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from shared.model.candidate_step import CANDIDATES, USERS
from tests.unit.model import networks

MODEL = networks.ranker()
TOLERANCE = 1e-5


class Traced:
    """A compiler that makes torch follow and rebuild the function, as for a GPU, and remembers for which shapes."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        traced = torch.compile(function, backend="eager", dynamic=False, fullgraph=True)

        def called(*arguments: Any) -> Any:
            self.shapes.append((*arguments[4].shape, arguments[1][0].shape[2]))
            return traced(*arguments)

        return called


@pytest.mark.parametrize(
    "asked", [[(0, 5)], [(1, 40)], [(30, 12), (7, 7)], [(50, 1), (3, 30), (0, 9), (12, 2)], [(5, 6)] * 5]
)
def test_fixed_shapes_give_the_scores_of_any_shape(asked: list[tuple[int, int]]) -> None:
    requests = [networks.request(seed, length, count) for seed, (length, count) in enumerate(asked)]
    compiler = Traced()

    fixed = MODEL.with_graphs(compiler).score(requests)

    users = next(size for size in USERS if size >= len(requests))
    assert compiler.shapes == [(users, CANDIDATES[0], networks.SETTINGS.history_limit + 1)]
    for result, expected in zip(fixed, MODEL.score(requests), strict=True):
        assert np.allclose(result.probabilities, expected.probabilities, atol=TOLERANCE)
        assert np.allclose(result.ratings, expected.ratings, atol=TOLERANCE)


def test_more_users_than_the_largest_shape_run_as_they_come() -> None:
    requests = [networks.request(seed, 3, 4) for seed in range(USERS[-1] + 1)]
    compiler = Traced()

    fixed = MODEL.with_graphs(compiler).score(requests)

    assert compiler.shapes == []
    assert len(fixed) == len(requests)


def test_warming_compiles_every_shape_before_a_request_needs_it() -> None:
    compiler = Traced()
    model = MODEL.with_graphs(compiler)

    model.warm(networks.request(0, 5, 7))

    tokens = networks.SETTINGS.history_limit + 1
    assert sorted(compiler.shapes) == sorted((users, count, tokens) for users in USERS for count in CANDIDATES)
