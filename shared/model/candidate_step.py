"""The ranker's second half, from encoded histories to logits; as it comes, or in a few fixed shapes.

On a GPU a network of this size spends most of its time on having its kernels started one by one. Of a fixed shape they
are compiled into fewer, and recorded and started as one CUDA graph. So requests are padded up to the next of a few
shapes; padding changes no score, because no candidate sees another, and none sees what its history does not hold.

B users, L tokens of the longest history, C candidates of the longest request, d width, K features, A actions.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from shared.model.ranker_network import EncodedHistories, Queries, RankerNetwork

USERS: Final = (1, 4, 16)
CANDIDATES: Final = (128, 512)
"""What is padded to; what is larger than the largest runs as it comes."""

Compile = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked of the second half, on the network's device.

    Attributes:
        encoded: (B, 1, d) users, and keys and values of each block, (B, H, L, D).
        lengths: (B,) events of each history.
        ids: (B, C) item rows, -1 = not in the bundle.
        raw: (B, C, d) raw item vectors.
        features: (B, C, K) scaled.
    """

    encoded: EncodedHistories
    lengths: Tensor
    ids: Tensor
    raw: Tensor
    features: Tensor


Answers = tuple[Tensor, Tensor]
"""(B, C, A, parts) logits by part, and (B, C) ratings."""
Step = Callable[[Questions], Answers]


def step_of(network: RankerNetwork) -> Step:
    """The second half of a network."""

    def step(asked: Questions) -> Answers:
        biases = network.item_bias(asked.ids.clamp(min=0)) * (asked.ids >= 0)[..., None]
        queries = Queries(asked.lengths[:, None], asked.raw[:, None], biases[:, None], asked.features[:, None])
        parts = network(asked.encoded, queries)[:, 0]
        return parts, network.rating(asked.encoded.users.expand(*asked.ids.shape, -1), asked.raw, asked.ids)

    return step


class FixedShapes:
    """The same step, compiled for each shape that it is padded to.

    Args:
        network: whose second half.
        compiler: of functions of tensors; None: torch's own, which records CUDA graphs on a GPU.
    """

    def __init__(self, network: RankerNetwork, compiler: Compile | None = None) -> None:
        self._step = step_of(network)
        self._tokens = network.settings.encoder.history_limit + 1
        self._compiled = (compiler or _compiled)(self._flat)

    def __call__(self, asked: Questions) -> Answers:
        """The step's answers."""
        users, candidates = asked.ids.shape
        shape = _next(USERS, users), _next(CANDIDATES, candidates)
        if not all(shape) or asked.encoded.keys[0].shape[2] > self._tokens:
            return self._step(asked)
        full = _padded(asked, shape[0], shape[1], self._tokens)
        encoded = full.encoded
        parts, ratings = self._compiled(
            encoded.users, encoded.keys, encoded.values, full.lengths, full.ids, full.raw, full.features
        )
        return parts[:users, :candidates], ratings[:users, :candidates]

    def warm(self, asked: Questions) -> None:
        """Compile every shape, so that no request waits for it; `asked` is a question of one user."""
        for users in USERS:
            for candidates in CANDIDATES:
                one = _padded(asked, 1, candidates, self._tokens)
                self(_padded(one, users, candidates, self._tokens))

    def _flat(self, users: Tensor, keys: tuple[Tensor, ...], values: tuple[Tensor, ...], *rest: Tensor) -> Answers:
        """The step with arguments that a compiler takes."""
        return self._step(Questions(EncodedHistories(users, keys, values), *rest))


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    shapes = len(USERS) * len(CANDIDATES)
    compiler: Any = torch.compile  # its declared types lack the limit
    made = compiler(
        function, mode="reduce-overhead", dynamic=False, recompile_limit=2 * shapes, isolate_recompiles=True
    )
    return cast("Callable[..., Any]", made)


def _next(sizes: Sequence[int], size: int) -> int:
    """The least of the sizes that holds one; 0: none does."""
    place = bisect_left(sizes, size)
    return sizes[place] if place < len(sizes) else 0


def _padded(asked: Questions, users: int, candidates: int, tokens: int) -> Questions:
    """Zeros behind what is asked, up to a shape; the ids there are unknown."""
    more_users, more = users - asked.ids.shape[0], candidates - asked.ids.shape[1]
    later = tokens - asked.encoded.keys[0].shape[2]

    def histories(blocks: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(F.pad(each, (0, 0, 0, later, 0, 0, 0, more_users)) for each in blocks)

    encoded = EncodedHistories(
        F.pad(asked.encoded.users, (0, 0, 0, 0, 0, more_users)),
        histories(asked.encoded.keys),
        histories(asked.encoded.values),
    )
    return replace(
        asked,
        encoded=encoded,
        lengths=F.pad(asked.lengths, (0, more_users)),
        ids=F.pad(asked.ids, (0, more, 0, more_users), value=-1),
        raw=F.pad(asked.raw, (0, 0, 0, more, 0, more_users)),
        features=F.pad(asked.features, (0, 0, 0, more, 0, more_users)),
    )
