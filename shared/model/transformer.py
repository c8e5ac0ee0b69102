"""The Transformer of retriever and ranker: causal over a history; candidates see the history and themselves.

Tokens of all users lie packed one behind the other, so that no product is spent on padding; only inside the attention
are they laid out by user. A causal, right-padded layout needs no mask: what a real query may see is always real.
Pre-norm blocks and GELU as in GPT-2; positions enter as a learned bias per head on the distance in events (after T5,
Raffel et al. 2020, section 2.1), so a history of any length, cut anywhere, means the same.

B users, T tokens of all users, L longest history, P requests a user, C candidates a request, d width, H heads,
D = d / H.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DISTANCES = 32
UNSEEN = DISTANCES
"""Bin of what may not be seen: its bias is -inf."""

_LEAST_WORD = -(2**63)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the packed tokens of a batch stand.

    Attributes:
        users: (T,) user of each token.
        places: (T,) position of each token in its history, from 0.
        lengths: (B,) tokens of each user.
        longest: L, at least 1.
    """

    users: Tensor
    places: Tensor
    lengths: Tensor
    longest: int

    @classmethod
    def of(cls, lengths: Tensor) -> Layout:
        """The layout of histories of these lengths, (B,)."""
        users = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
        starts = torch.cumsum(lengths, 0) - lengths
        places = torch.arange(len(users), device=lengths.device) - starts[users]
        return cls(users, places, lengths, max(1, int(lengths.max())) if len(lengths) else 1)

    @property
    def last(self) -> Tensor:
        """(B,) index of each user's last token."""
        return torch.cumsum(self.lengths, 0) - 1

    def padded(self, packed: Tensor) -> Tensor:
        """(T, …) → (B, L, …), zero behind the end of each history."""
        if len(self.lengths) == 1:  # nothing to lay out: it is as it is
            return packed[None]
        out = packed.new_zeros(len(self.lengths), self.longest, *packed.shape[1:])
        out[self.users, self.places] = packed
        return out

    def packed(self, padded: Tensor) -> Tensor:
        """(B, L, …) → (T, …)."""
        if len(self.lengths) == 1:
            return padded[0]
        return padded[self.users, self.places]


def distance_bins(distances: Tensor) -> Tensor:
    """Distances in events → bins below `DISTANCES`: exact up to 15, then logarithmic (31 from about 240 on)."""
    far = 16 + 4 * torch.log2(distances.clamp(min=16) / 16)
    return torch.where(distances < 16, distances, far.long()).clamp(0, DISTANCES - 1)


@lru_cache(maxsize=8)
def _bins_by_distance(size: int, device: torch.device) -> Tensor:
    """(size,) bin of each distance from 0; computed once, as every request asks for the same."""
    with torch.inference_mode(mode=False):  # also training reads it
        return distance_bins(torch.arange(size, device=device))


def _looked_up(distances: Tensor, size: int) -> Tensor:
    """Bins of distances below a table's size; those below 0 count as 0.

    A table is quicker than computing them, but no compiler looks into its cache: it fuses the computation instead.
    """
    if torch.compiler.is_compiling():
        return distance_bins(distances.clamp(min=0))
    return _bins_by_distance(size, distances.device)[distances.clamp(0, size - 1)]


def _table_size(length: int) -> int:
    """The power of two that holds a length: few tables serve all lengths."""
    return 1 << max(4, (length - 1).bit_length())


class Attention(nn.Module):
    """Multi-head attention with a bias on distance.

    Args:
        width: d.
        heads: H.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of {heads} heads")
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.distance = nn.Parameter(torch.zeros(heads, DISTANCES))

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(…, d) → queries, keys and values, each (…, H, D)."""
        q, k, v = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        return q, k, v

    def causal(self, tokens: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """Each token attends to itself and to earlier ones of its user.

        Args:
            tokens: (T, d).
            layout: where they stand.

        Returns:
            (T, d) output, and the keys and values laid out by user, (B, H, L, D), for candidates to attend to.
        """
        q, k, v = (layout.padded(part).transpose(1, 2) for part in self.project(tokens))  # (B, H, L, D)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self._causal_biases(layout.longest)[None])
        return self.out(layout.packed(mixed.transpose(1, 2)).flatten(-2)), k, v

    def latest(self, tokens: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """What `causal` gives for the last token of each user, without the work for the others.

        Args:
            tokens: (T, d); each user has one at least.
            layout: where they stand.

        Returns:
            (B, d) output, and keys and values as `causal` gives them.
        """
        width = tokens.shape[-1]
        weight, bias = self.query_key_value.weight, self.query_key_value.bias
        q = F.linear(tokens[layout.last], weight[:width], bias[:width]).view(-1, self.heads, 1, width // self.heads)
        both = F.linear(tokens, weight[width:], bias[width:]).view(-1, 2, self.heads, width // self.heads)
        k, v = (layout.padded(part).transpose(1, 2) for part in both.unbind(1))  # (B, H, L, D)
        distances = layout.lengths[:, None] - 1 - torch.arange(layout.longest, device=tokens.device)  # (B, L)
        bins = _looked_up(distances, _table_size(layout.longest)).masked_fill(distances < 0, UNSEEN)
        mask = self._biases()[:, bins].transpose(0, 1)[:, :, None]  # (B, H, 1, L)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, H, 1, D)
        return self.out(mixed.flatten(1)), k, v

    def candidate(self, tokens: Tensor, keys: Tensor, values: Tensor, distances: Tensor) -> Tensor:
        """Each candidate attends to its user's history and to itself, never to another candidate.

        Args:
            tokens: (B, P, C, d) candidates of the P requests of each user.
            keys: (B, H, L, D) of the history.
            values: (B, H, L, D).
            distances: (B, P, L) events between candidate and history token; below 1 = may not be seen.

        Returns:
            (B, P, C, d).
        """
        q, k, v = (part.permute(0, 3, 1, 2, 4) for part in self.project(tokens))  # (B, H, P, C, D)
        q = q * q.shape[-1] ** -0.5
        bins = _looked_up(distances, _table_size(distances.shape[-1] + 1)).masked_fill(distances < 1, UNSEEN)
        bias = self._biases()[:, bins].transpose(0, 1)  # (B, H, P, L)
        seen = (q.flatten(2, 3) @ keys.transpose(2, 3)).unflatten(2, q.shape[2:4]) + bias[:, :, :, None]
        own = (q * k).sum(-1, keepdim=True) + self.distance[:, :1, None, None]  # (B, H, P, C, 1)
        # Softmax over the history and the candidate itself, without a copy of the weights to join the two.
        top = torch.maximum(seen.amax(-1, keepdim=True), own).detach()
        seen, own = (seen - top).exp(), (own - top).exp()
        mixed = (seen.flatten(2, 3) @ values).unflatten(2, q.shape[2:4]) + own * v  # (B, H, P, C, D)
        mixed = mixed / (seen.sum(-1, keepdim=True) + own)
        out: Tensor = self.out(mixed.permute(0, 2, 3, 1, 4).flatten(-2))
        return out

    def _causal_biases(self, length: int) -> Tensor:
        """(H, L, L) bias of each query and key, -inf where the key comes later.

        A row is the one above it, moved on by one token: so all rows are windows of one line, and nothing is looked up
        for each pair of tokens.
        """
        bins = _looked_up(torch.arange(length, device=self.distance.device), _table_size(length))
        earlier = self.distance[:, bins].flip(-1)  # (H, L): the farthest first, the token itself last
        line = F.pad(earlier, (0, length - 1), value=-torch.inf)  # (H, 2 L - 1)
        return line.unfold(-1, length, 1).flip(1)

    def _biases(self) -> Tensor:
        """(H, DISTANCES + 1) bias by bin."""
        return F.pad(self.distance, (0, 1), value=-torch.inf)


class Dropout(nn.Module):
    """Dropout from random bytes instead of random floats: a fifth of the time on a processor, where it is felt.

    Args:
        rate: share of the values that become 0, to the nearest 1/256.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = round(rate * 256)

    def forward(self, values: Tensor) -> Tensor:
        """The values, in training with some at 0 and the others enlarged."""
        if not self.training or not self.dropped:
            return values
        words = torch.empty(-(-values.numel() // 8), dtype=torch.int64, device=values.device).random_(_LEAST_WORD, None)
        kept = words.view(torch.uint8)[: values.numel()].view(values.shape) >= self.dropped
        return values * kept.to(values.dtype).mul_(256 / (256 - self.dropped))  # a product with booleans is slow


class Block(nn.Module):
    """Attention and a feed-forward layer, each behind a norm and beside a residual.

    Args:
        width: d.
        heads: H.
        dropout: of both residual branches.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.forward_norm = nn.LayerNorm(width)
        self.forward_layer = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout = Dropout(dropout)

    def history(self, tokens: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """(T, d) → (T, d), with the keys and values that candidates attend to."""
        mixed, keys, values = self.attention.causal(self.attention_norm(tokens), layout)
        return self._forward(tokens + self.dropout(mixed)), keys, values

    def latest(self, tokens: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """(T, d) → (B, d): the last token of each user, with the keys and values of all."""
        mixed, keys, values = self.attention.latest(self.attention_norm(tokens), layout)
        return self._forward(tokens[layout.last] + self.dropout(mixed)), keys, values

    def candidates(self, tokens: Tensor, keys: Tensor, values: Tensor, distances: Tensor) -> Tensor:
        """(B, P, C, d) → (B, P, C, d), see `Attention.candidate`."""
        mixed = self.attention.candidate(self.attention_norm(tokens), keys, values, distances)
        return self._forward(tokens + self.dropout(mixed))

    def _forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = tokens + self.dropout(self.forward_layer(self.forward_norm(tokens)))
        return out
