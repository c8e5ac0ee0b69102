"""The retriever: a sequence Transformer as user tower, items as unit vectors; near vectors are what the user does next.

    history ─▶ item vectors + event codes + time gaps ─▶ causal Transformer ─▶ user vector ┐ cosine / temperature
    item    ─▶ id + features + content vectors ──────────────────────────────▶ item vector ┘

SASRec (Kang & McAuley 2018) with a softmax over cosines (Klenitskiy & Vasilev 2023; gSASRec, Petrov & Macdonald 2023,
show why the loss decides). A learned start token stands before every history, so the empty one has a vector too.
The network trains in `services/trainer/retrieval_training.py`; `RetrieverModel` serves it.

B users, T events of all of them, n items, d width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from shared.domain.history import History
from shared.domain.items import Item, User
from shared.domain.vocabulary import UNKNOWN_ROW, Vocabulary
from shared.model.bundle import Bundle
from shared.model.encoding import EVENT_CODES, GAP_BINS, PackedHistories, ValueScale, load_scale, pack_histories
from shared.model.item_tower import INITIAL_SCALE, FeatureEncoding, ItemTable, ItemTower, load_table
from shared.model.profile_tower import ProfileInputs, ProfileTower
from shared.model.transformer import Block, Dropout, Layout

WEIGHTS_FILE = "retriever.safetensors"
_CHUNK_ITEMS = 16_384

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


class RetrieverSettings(BaseModel):
    """The shape of the network.

    Attributes:
        width: d of the vectors.
        heads, blocks: of the Transformer.
        dropout: in training.
        history_limit: events of a history that are read, the latest ones.
        temperature: cosines are divided by it in the softmax.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(64, gt=0)
    heads: int = Field(2, gt=0)
    blocks: int = Field(2, ge=0)
    dropout: float = Field(0.2, ge=0, lt=1)
    history_limit: int = Field(200, gt=0)
    temperature: float = Field(0.1, gt=0)


@dataclass(frozen=True, slots=True)
class HistoryInputs:
    """Histories as the network reads them, without their start tokens.

    Attributes:
        items: (T,) rows of the vectors that stand beside, -1 = an item of which nothing is known.
        event_codes, gap_bins: (T,) see `encoding`.
        lengths: (B,) events of each user.
        profiles: what else is known of the users; None: nothing of anybody.
    """

    items: Tensor
    event_codes: Tensor
    gap_bins: Tensor
    lengths: Tensor
    profiles: ProfileInputs | None = None

    @classmethod
    def of(cls, packed: PackedHistories) -> HistoryInputs:
        """From arrays; `items` are item rows."""
        profiles = packed.profiles
        return cls(
            items=_tensor(packed.item_rows),
            event_codes=_tensor(packed.event_codes),
            gap_bins=_tensor(packed.gap_bins),
            lengths=_tensor(packed.lengths),
            profiles=None if profiles is None or profiles.empty else ProfileInputs.of(profiles),
        )


class HistoryEncoder(nn.Module):
    """Start token, event embeddings and Transformer blocks: what retriever and ranker share.

    Args:
        settings: the shape.
    """

    def __init__(self, settings: RetrieverSettings) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(settings.width) * INITIAL_SCALE)
        self.events = nn.Embedding(EVENT_CODES, settings.width)
        self.gaps = nn.Embedding(GAP_BINS, settings.width)
        for embedding in (self.events, self.gaps):
            nn.init.normal_(embedding.weight, std=INITIAL_SCALE)
        self.input_dropout = Dropout(settings.dropout)
        self.blocks = nn.ModuleList(
            Block(settings.width, settings.heads, settings.dropout) for _ in range(settings.blocks)
        )
        self.norm = nn.LayerNorm(settings.width)
        self.scale = settings.width**0.5

    def layers(self) -> Iterator[Block]:
        """The blocks, first to last."""
        for block in self.blocks:
            yield cast("Block", block)

    def tokens(self, inputs: HistoryInputs, item_vectors: Tensor, profiles: Tensor | None) -> tuple[Tensor, Layout]:
        """(T + B, d) the tokens of each history behind its start token, and their layout.

        Args:
            inputs: the histories.
            item_vectors: (n, d) that `inputs.items` points into.
            profiles: (B, d) vectors of what else is known of the users; None: of nobody.
        """
        layout = Layout.of(inputs.lengths + 1)
        known = (inputs.items != UNKNOWN_ROW)[:, None]
        events = item_vectors[inputs.items.clamp(min=0)] * known * self.scale if len(inputs.items) else item_vectors[:0]
        events = events + self.events(inputs.event_codes) + self.gaps(inputs.gap_bins)
        is_event = layout.places > 0
        tokens = self.start.repeat(len(layout.users), 1)
        if profiles is not None:
            tokens = tokens + profiles[layout.users] * self.scale
        tokens = tokens.masked_scatter(is_event[:, None], events)
        return self.input_dropout(tokens), layout


class RetrieverNetwork(nn.Module):
    """Both towers.

    Args:
        settings: the shape.
        tower: of the items.
        profile: of what is known of users beside their history.
    """

    def __init__(self, settings: RetrieverSettings, tower: ItemTower, profile: ProfileTower) -> None:
        super().__init__()
        self.settings = settings
        self.tower = tower
        self.profile = profile
        self.encoder = HistoryEncoder(settings)
        self.out = nn.Linear(settings.width, settings.width)

    def forward(self, inputs: HistoryInputs, item_vectors: Tensor) -> tuple[Tensor, Layout]:
        """(T + B, d) the unit user vector after the start token and after each event, and their layout.

        Args:
            inputs: the histories.
            item_vectors: (n, d) raw vectors of the tower that `inputs.items` points into.
        """
        tokens, layout = self.encoder.tokens(inputs, item_vectors, self.profiles(inputs))
        for block in self.encoder.layers():
            tokens, _, _ = block.history(tokens, layout)
        return F.normalize(self.out(self.encoder.norm(tokens)), dim=-1), layout

    def profiles(self, inputs: HistoryInputs) -> Tensor | None:
        """(B, d) vectors of the profiles; None: nothing is known of anybody."""
        return self.profile.of(inputs.profiles, self.tower.features.weight, len(inputs.lengths))


class RetrieverModel:
    """A trained retriever, for serving: no gradients, safe for concurrent reads.

    Args:
        network: the weights.
        encoding: how items become tower inputs.
        table: the bundle's items.
        vocabulary: their ids.
        scale: of event values.
    """

    def __init__(
        self,
        network: RetrieverNetwork,
        encoding: FeatureEncoding,
        table: ItemTable,
        vocabulary: Vocabulary,
        scale: ValueScale,
    ) -> None:
        self.network = network.eval()
        self.encoding, self.table, self.vocabulary, self.scale = encoding, table, vocabulary, scale
        self.raw_items = item_vectors(network.tower, table)  # (N, d)

    @classmethod
    def load(cls, bundle: Bundle) -> RetrieverModel:
        """Open that of a bundle."""
        encoding, table = FeatureEncoding.load(bundle), load_table(bundle)
        settings = RetrieverSettings.model_validate(bundle.manifest.retriever)
        network = new_network(settings, encoding, len(bundle.vocabulary))
        network.load_state_dict(load_file(bundle.file(WEIGHTS_FILE)))
        return cls(network, encoding, table, bundle.vocabulary, load_scale(bundle))

    def save(self, folder: Path) -> None:
        """Write the weights into a bundle's folder (vocabulary, table and encodings are written by the publisher)."""
        save_file(self.network.state_dict(), folder / WEIGHTS_FILE)

    @torch.inference_mode()
    def user_vectors(
        self,
        histories: Sequence[History],
        fresh: Mapping[str, Item] | None = None,
        users: Sequence[User | None] | None = None,
    ) -> Floats:
        """(B, d) unit vectors of users.

        Args:
            histories: oldest event first; may be empty.
            fresh: content of items that are newer than the bundle, so that a history of them says something.
            users: what else is known of them; None: nothing of anybody.
        """
        packed = pack_histories(histories, self.vocabulary, self.scale, self.network.settings.history_limit)
        if users is not None:
            packed = replace(packed, profiles=self.encoding.profiles(users))
        inputs, vectors = HistoryInputs.of(packed), self.raw_items
        if fresh and (packed.item_rows == UNKNOWN_ROW).any():
            inputs, vectors = self._with_fresh(inputs, histories, fresh)
        return self.packed_user_vectors(inputs, vectors)

    def packed_user_vectors(self, inputs: HistoryInputs, vectors: Tensor) -> Floats:
        """The same from arrays: (B, d)."""
        users, layout = self.network(inputs, vectors)
        last: Floats = users[torch.cumsum(layout.lengths, 0) - 1].numpy()
        return last

    @torch.inference_mode()
    def profile_vectors(self, users: Sequence[User | None]) -> Floats | None:
        """(B, d) what is added to the start tokens of users' histories; None: nothing is known of anybody."""
        profiles = self.encoding.profiles(users)
        if profiles.empty:
            return None
        inputs, features = ProfileInputs.of(profiles), self.network.tower.features.weight
        vectors: Floats = self.network.profile(inputs, features, len(users)).numpy()
        return vectors * np.float32(self.network.encoder.scale)

    @torch.inference_mode()
    def item_vectors(self, items: Sequence[Item]) -> Floats:
        """(n, d) unit vectors of items; what the bundle does not know is described by its content alone."""
        vectors: Floats = F.normalize(self._raw(items), dim=-1).numpy()
        return vectors

    @torch.inference_mode()
    def catalogue_vectors(self) -> Floats:
        """(N, d) unit vectors of the bundle's own items, row-aligned with its vocabulary: what the index holds."""
        vectors: Floats = F.normalize(self.raw_items, dim=-1).numpy()
        return vectors

    def _raw(self, items: Sequence[Item]) -> Tensor:
        table = self.encoding.table(items, self.vocabulary)
        vectors: Tensor = self.network.tower(table.inputs(np.arange(len(table))))
        return vectors

    def _with_fresh(
        self, inputs: HistoryInputs, histories: Sequence[History], fresh: Mapping[str, Item]
    ) -> tuple[HistoryInputs, Tensor]:
        limit = self.network.settings.history_limit
        ids = [item_id for history in histories for item_id in history.latest(limit).item_ids]
        used = {name: place for place, name in enumerate(dict.fromkeys(
            name for name in ids if name in fresh and name not in self.vocabulary))}  # fmt: skip
        if not used:
            return inputs, self.raw_items
        first = len(self.raw_items)
        rows = [
            first + used[name] if name in used else row for name, row in zip(ids, inputs.items.tolist(), strict=True)
        ]
        extended = torch.cat([self.raw_items, self._raw([fresh[name] for name in used])])
        return replace(inputs, items=torch.tensor(rows)), extended


def new_network(settings: RetrieverSettings, encoding: FeatureEncoding, items: int) -> RetrieverNetwork:
    """An untrained network for a catalogue of N items."""
    tower = ItemTower(items, len(encoding.featurizer.names), encoding.encoders, settings.width)
    return RetrieverNetwork(settings, tower, ProfileTower(len(encoding.users.names), settings.width))


def _tensor(column: Rows) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(column))


@torch.inference_mode()
def item_vectors(tower: ItemTower, table: ItemTable) -> Tensor:
    """(M, d) the tower's raw vectors of a whole table, a part at a time."""
    rows = np.arange(len(table))
    parts = [tower(table.inputs(rows[start : start + _CHUNK_ITEMS])) for start in range(0, len(rows), _CHUNK_ITEMS)]
    return torch.cat(parts) if parts else torch.empty(0, tower.ids.embedding_dim)
