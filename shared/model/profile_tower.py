"""From what is known of a user beside the history to the token that stands before it.

The start token of a history plus a vector of the profile: a user without events has that vector alone, and every event
can look back at it. A user of whom nothing is known has the plain start token.

B users, F features of items, G features of users, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from shared.model.item_features import Bags
from shared.model.user_features import Profiles


@dataclass(frozen=True, slots=True)
class BagInputs:
    """The bags of B users as tensors.

    Attributes:
        ids, weights: (nnz,) features of all of them, one user behind the other.
        owners: (nnz,) which of the users each belongs to.
    """

    ids: Tensor
    weights: Tensor
    owners: Tensor

    @classmethod
    def of(cls, bags: Bags) -> BagInputs:
        """From arrays."""
        owners = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
        return cls(torch.from_numpy(bags.ids), torch.from_numpy(bags.weights), torch.from_numpy(owners))

    def summed(self, vectors: Tensor, users: int) -> Tensor:
        """(B, d) the weighted sums of the features' vectors, (features, d)."""
        out = vectors.new_zeros(users, vectors.shape[1])
        return out.index_add(0, self.owners, vectors[self.ids] * self.weights[:, None])


@dataclass(frozen=True, slots=True)
class ProfileInputs:
    """Profiles as the network reads them, see `Profiles`."""

    own: BagInputs
    interests: BagInputs

    @classmethod
    def of(cls, profiles: Profiles) -> ProfileInputs:
        """From arrays."""
        return cls(BagInputs.of(profiles.own), BagInputs.of(profiles.interests))


class ProfileTower(nn.Module):
    """Sums what features of users mean, and what the named features of items mean to users.

    An untrained one takes an interest for an item that has nothing but this feature.

    Args:
        features: G.
        width: d.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.features = nn.Embedding(max(features, 1), width)
        self.interests = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.features.weight)
        nn.init.eye_(self.interests.weight)

    def forward(self, inputs: ProfileInputs, item_features: Tensor, users: int) -> Tensor:
        """(B, d) vectors, zero for users of whom nothing is known.

        Args:
            inputs: the profiles.
            item_features: (F, d) vectors of the features of items.
            users: B.
        """
        meant: Tensor = self.interests(inputs.interests.summed(item_features, users))
        return inputs.own.summed(self.features.weight, users) + meant

    def of(self, inputs: ProfileInputs | None, item_features: Tensor, users: int) -> Tensor | None:
        """The same, None for None."""
        if inputs is None:
            return None
        vectors: Tensor = self(inputs, item_features, users)
        return vectors
