"""The ranker's network: what each action's logit is made of.

    logit_a = scale_a · û·î  +  b_u,a  +  b_i,a  +  e_aᵀk  +  interaction_a
    rating  = μ + b_u + b_i + (W_u û)ᵀ(W_i î)

û is the user vector after the history, î the item vector (both start as the retriever's), k the external knowledge.
The interaction reads the candidate's token after it attended to the history and to itself, and to nothing else: a
score does not depend on which other candidates are scored (candidate isolation, as in xai-org/x-algorithm), and the
history's keys and values are computed once and shared by all candidates.

B users, P requests a user, C candidates a request, L tokens of the longest history, d width, A actions, K features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from shared.model.item_tower import ItemTower
from shared.model.profile_tower import ProfileTower
from shared.model.retriever import HistoryEncoder, HistoryInputs, RetrieverSettings

PARTS = ("user_item", "user_bias", "item_bias", "external", "interaction")


class RankerSettings(BaseModel):
    """The shape of the network.

    Attributes:
        encoder: of the history, as in the retriever that it starts from.
        actions: A.
        features: K.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: RetrieverSettings
    actions: int = Field(gt=0)
    features: int = Field(gt=0)


@dataclass(frozen=True, slots=True)
class EncodedHistories:
    """Histories after the encoder.

    Attributes:
        users: (B, L, d) unit user vector after the start token and after each event; (B, 1, d) after the last one,
            where nothing else was asked for.
        keys, values: by block (B, H, L, D).
    """

    users: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Queries:
    """What is scored.

    Attributes:
        places: (B, P) events that each request's history holds, i.e. the place of its last token; -1 = no request.
        items: (B, P, C, d) raw item vectors of the candidates.
        biases: (B, P, C, A) of the item ids, 0 for unknown ones.
        knowledge: (B, P, C, K) scaled features.
    """

    places: Tensor
    items: Tensor
    biases: Tensor
    knowledge: Tensor


class RankerNetwork(nn.Module):
    """History encoder, candidate blocks and heads.

    Args:
        settings: the shape.
        tower: of the items.
        profile: of what is known of users beside their history.
    """

    def __init__(self, settings: RankerSettings, tower: ItemTower, profile: ProfileTower) -> None:
        super().__init__()
        width, actions = settings.encoder.width, settings.actions
        self.settings = settings
        self.tower = tower
        self.profile = profile
        self.encoder = HistoryEncoder(settings.encoder)
        self.out = nn.Linear(width, width)
        self.candidate = nn.Parameter(torch.zeros(width))
        self.knowledge = nn.Linear(settings.features, width)
        self.candidate_norm = nn.LayerNorm(width)
        # Heads start at 0: an untrained ranker gives exactly the retriever's order.
        self.scale = nn.Parameter(torch.full((actions,), 1 / settings.encoder.temperature))
        self.user_bias = _zero(nn.Linear(width, actions))
        self.item_bias = nn.Embedding(tower.ids.num_embeddings, actions)
        self.content_bias = _zero(nn.Linear(width, actions, bias=False))
        self.external = _zero(nn.Linear(settings.features, actions, bias=False))
        self.interaction = _zero(nn.Linear(width, actions, bias=False))
        self.rating = RatingHead(width, tower.ids.num_embeddings)
        nn.init.zeros_(self.item_bias.weight)

    def encode(self, inputs: HistoryInputs, item_vectors: Tensor) -> EncodedHistories:
        """Run the history encoder; `inputs.items` points into `item_vectors`, (n, d) raw."""
        tokens, layout = self.encoder.tokens(inputs, item_vectors, self._profiles(inputs))
        keys, values = [], []
        for block in self.encoder.layers():
            tokens, key, value = block.history(tokens, layout)
            keys.append(key)
            values.append(value)
        return EncodedHistories(layout.padded(self._users(tokens)), tuple(keys), tuple(values))

    def encode_latest(self, inputs: HistoryInputs, item_vectors: Tensor) -> EncodedHistories:
        """The same for requests that stand behind the whole history: the last block computes its last token only."""
        tokens, layout = self.encoder.tokens(inputs, item_vectors, self._profiles(inputs))
        *blocks, top = self.encoder.layers()
        keys, values = [], []
        for run in (*(block.history for block in blocks), top.latest):
            tokens, key, value = run(tokens, layout)
            keys.append(key)
            values.append(value)
        return EncodedHistories(self._users(tokens)[:, None], tuple(keys), tuple(values))

    def _profiles(self, inputs: HistoryInputs) -> Tensor | None:
        return self.profile.of(inputs.profiles, self.tower.features.weight, len(inputs.lengths))

    def _users(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.out(self.encoder.norm(tokens)), dim=-1)

    def forward(self, encoded: EncodedHistories, queries: Queries) -> Tensor:
        """(B, P, C, A, parts) the additive parts of every logit, in the order of `PARTS`."""
        users = requested(encoded.users, queries.places)[:, :, None]  # (B, P, 1, d)
        cosine = (users * F.normalize(queries.items, dim=-1)).sum(-1, keepdim=True)  # (B, P, C, 1)
        item_bias = queries.biases + self.content_bias(queries.items)
        parts = (
            cosine * self.scale,
            self.user_bias(users).expand_as(item_bias),
            item_bias,
            self.external(queries.knowledge),
            self.interaction(self._interacted(encoded, queries)),
        )
        return torch.stack(parts, dim=-1)

    def _interacted(self, encoded: EncodedHistories, queries: Queries) -> Tensor:
        """(B, P, C, d) the candidates' tokens after all blocks."""
        tokens = queries.items * self.encoder.scale + self.candidate + self.knowledge(queries.knowledge)
        tokens = self.encoder.input_dropout(tokens)
        places = torch.arange(encoded.keys[0].shape[2], device=tokens.device)
        distances = queries.places[:, :, None] + 1 - places  # (B, P, L): 1 for the latest token, below 1 = not yet
        for block, keys, values in zip(self.encoder.layers(), encoded.keys, encoded.values, strict=True):
            tokens = block.candidates(tokens, keys, values, distances)
        normed: Tensor = self.candidate_norm(tokens)
        return normed


class RatingHead(nn.Module):
    """Expected value of a rating: matrix factorisation whose user factor comes from the history.

    Args:
        width: d.
        items: N.
    """

    def __init__(self, width: int, items: int) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(()))
        self.user_bias = _zero(nn.Linear(width, 1, bias=False))
        self.item_bias = nn.Embedding(items, 1)
        self.content_bias = _zero(nn.Linear(width, 1, bias=False))
        self.user = nn.Linear(width, width, bias=False)
        self.item = _zero(nn.Linear(width, width, bias=False))
        nn.init.zeros_(self.item_bias.weight)

    def forward(self, users: Tensor, items: Tensor, id_rows: Tensor) -> Tensor:
        """(…,) in standard deviations of the training values.

        Args:
            users: (…, d) unit user vectors.
            items: (…, d) raw item vectors.
            id_rows: (…,) their ids, -1 = unknown.
        """
        bias = self.item_bias(id_rows.clamp(min=0)).squeeze(-1) * (id_rows >= 0)
        bias = bias + self.content_bias(items).squeeze(-1) + self.user_bias(users).squeeze(-1)
        out: Tensor = self.level + bias + (self.user(users) * self.item(items)).sum(-1)
        return out


def requested(tokens: Tensor, places: Tensor) -> Tensor:
    """(B, L, d) at (B, P) places → (B, P, d); place -1 gives place 0, one behind the end the last."""
    index = places.clamp(0, tokens.shape[1] - 1)[:, :, None].expand(-1, -1, tokens.shape[-1])
    return tokens.gather(1, index)


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
