"""The retriever's user tower for one history at a time, in NumPy.

The network of `shared.model.retriever` is made for batches: for a single history most of its time goes into calling a
hundred small operations. This does the same sums with the network's own weights in a third of the time, and computes
of the last block only what the last event needs. Whoever loads it has it compared with the network first (`agrees`).

L tokens (start and events), d width, H heads, D = d / H.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.items import Item, User
from shared.domain.vocabulary import UNKNOWN_ROW
from shared.model.encoding import pack_histories
from shared.model.retriever import RetrieverModel
from shared.model.transformer import Block, distance_bins

Floats = npt.NDArray[np.float32]

_EPSILON = 1e-5  # torch's own in LayerNorm
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class _Affine:
    """y = x · weight + bias."""

    weight: Floats
    bias: Floats

    @classmethod
    def of(cls, layer: nn.Linear) -> _Affine:
        return cls(np.ascontiguousarray(_array(layer.weight).T), _array(layer.bias))

    def __call__(self, x: Floats) -> Floats:
        out: Floats = x @ self.weight
        out += self.bias
        return out


@dataclass(frozen=True, slots=True)
class _Norm:
    """Layer normalisation."""

    weight: Floats
    bias: Floats

    @classmethod
    def of(cls, layer: nn.LayerNorm) -> _Norm:
        return cls(_array(layer.weight), _array(layer.bias))

    def __call__(self, x: Floats) -> Floats:
        centred: Floats = x - x.mean(axis=-1, keepdims=True)
        variance = np.einsum("ld,ld->l", centred, centred)[:, None] / np.float32(x.shape[-1])
        centred /= np.sqrt(variance + np.float32(_EPSILON))
        centred *= self.weight
        centred += self.bias
        return centred


class _Block:
    """One Transformer block. `bias` is (H, L, L): on distance, and -inf on what comes later."""

    def __init__(self, block: Block, longest: int) -> None:
        attention = block.attention
        self._heads = attention.heads
        self._attention_norm, self._forward_norm = _Norm.of(block.attention_norm), _Norm.of(block.forward_norm)
        self._query_key_value, self._mix = _Affine.of(attention.query_key_value), _Affine.of(attention.out)
        first, last = (layer for layer in block.forward_layer if isinstance(layer, nn.Linear))
        self._first, self._last = _Affine.of(first), _Affine.of(last)
        self._bias = _distance_bias(_array(attention.distance), longest)

    def __call__(self, tokens: Floats, first: int) -> Floats:
        """(L, d) → (L - first, d): the tokens from `first` on, each seeing itself and those before."""
        length, width = tokens.shape
        mixed = self._query_key_value(self._attention_norm(tokens))
        q, k, v = mixed.reshape(length, 3, self._heads, -1).transpose(1, 2, 0, 3)  # (H, L, D)
        weights: Floats = q[:, first:] @ k.transpose(0, 2, 1)  # (H, L - first, L)
        weights *= np.float32((width // self._heads) ** -0.5)
        weights += self._bias[:, first:length, :length]
        weights -= weights.max(axis=-1, keepdims=True)
        np.exp(weights, out=weights)
        weights /= weights.sum(axis=-1, keepdims=True)
        seen: Floats = (weights @ v).transpose(1, 0, 2).reshape(length - first, width)
        out: Floats = tokens[first:] + self._mix(seen)
        hidden = F.gelu(torch.from_numpy(self._first(self._forward_norm(out)))).numpy()
        out += self._last(hidden)
        return out


class UserTower:
    """Makes user vectors as `RetrieverModel.user_vectors` does.

    Args:
        model: whose weights are used; it still does what this cannot, histories of items newer than the bundle.
    """

    def __init__(self, model: RetrieverModel) -> None:
        network, encoder = model.network, model.network.encoder
        self._limit = network.settings.history_limit
        self._model, self._scale = model, np.float32(encoder.scale)
        self._raw = model.raw_items.numpy()
        self._start = _array(encoder.start)[None]
        self._events, self._gaps = _array(encoder.events.weight), _array(encoder.gaps.weight)
        self._blocks = [_Block(block, self._limit + 1) for block in encoder.blocks if isinstance(block, Block)]
        self._norm, self._out = _Norm.of(encoder.norm), _Affine.of(network.out)

    def user_vectors(
        self,
        histories: Sequence[History],
        fresh: Mapping[str, Item] | None = None,
        users: Sequence[User | None] | None = None,
    ) -> Floats:
        """(B, d) unit vectors of users."""
        if fresh or len(histories) != 1:
            return self._model.user_vectors(histories, fresh, users)
        tokens = self._tokens(histories[0], users[0] if users else None)
        for block in self._blocks[:-1]:
            tokens = block(tokens, 0)
        for block in self._blocks[-1:]:
            tokens = block(tokens, len(tokens) - 1)
        user = self._out(self._norm(tokens[-1:]))
        user /= np.maximum(np.linalg.norm(user, axis=-1, keepdims=True), np.float32(1e-12))
        return user

    def item_vectors(self, items: Sequence[Item]) -> Floats:
        """(n, d) unit vectors of items."""
        return self._model.item_vectors(items)

    def agrees(self) -> bool:
        """Whether histories of several lengths, and a profile, get the network's own vectors."""
        return all(
            np.allclose(
                self.user_vectors([each], None, [user]), self._model.user_vectors([each], None, [user]), atol=_TOLERANCE
            )
            for each in self._samples()
            for user in (None, self._somebody())
        )

    def _somebody(self) -> User:
        """A user with an interest of each kind that the bundle knows."""
        names = (*self._model.encoding.users.names.ids, *self._model.encoding.featurizer.names.ids)
        interests = [name for name in names if name.startswith(("interest:", "tag:", "category:"))]
        return User("", tuple(name.partition(":")[2] for name in interests[:8]))

    def _samples(self) -> list[History]:
        ids, limit = self._model.vocabulary.ids, self._model.network.settings.history_limit
        lengths = [0, *(length for length in (1, 2, limit // 2, limit + 1) if ids)]
        return [_sample((ids * length)[:length]) for length in lengths]

    def _tokens(self, history: History, user: User | None) -> Floats:
        packed = pack_histories([history], self._model.vocabulary, self._model.scale, self._limit)
        known = packed.item_rows != UNKNOWN_ROW
        events = self._raw[np.where(known, packed.item_rows, 0)] * (known[:, None] * self._scale)
        events += self._events[packed.event_codes]
        events += self._gaps[packed.gap_bins]
        profile = None if user is None else self._model.profile_vectors([user])
        return np.concatenate([self._start if profile is None else self._start + profile, events])


def _distance_bias(distance: Floats, longest: int) -> Floats:
    steps = np.arange(longest)
    distances = steps[:, None] - steps[None, :]
    bins = distance_bins(torch.arange(longest)).numpy()
    bias: Floats = distance[:, bins[np.maximum(distances, 0)]]  # (H, L, L)
    bias[:, distances < 0] = -np.inf
    return bias


def _sample(item_ids: tuple[str, ...]) -> History:
    count = len(item_ids)
    kinds = np.resize(np.array([EventType.CLICK, EventType.RATING], np.int32), count)
    values = np.where(kinds == EventType.RATING, np.float32(4), np.float32(np.nan)).astype(np.float32)
    return History(item_ids, kinds, values, np.cumsum(np.arange(count, dtype=np.int64) * 60_000))


def _array(parameter: Tensor) -> Floats:
    array: Floats = parameter.detach().numpy()
    return array
