"""What is known of a user beside the history, as numbers: interest tags and typed attributes become weighted bags.

Interests are read twice. As features of the items that they name (an interest `jazz` is the tag and the category `jazz`
of items), so that an interest which nobody had in training still says something; and, like attributes, as features of
users, which training gives a meaning of their own.

U users, B users of a batch, F features of items, G features of users.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from shared.domain.items import User
from shared.domain.vocabulary import UNKNOWN_ROW, Vocabulary
from shared.model.attribute_bins import Edges, attribute_feature, fit_edges
from shared.model.bundle import Bundle
from shared.model.feature_vocabulary import FeatureFiles, frequent_names
from shared.model.item_features import Bags
from shared.model.text_form import normalised_user

FILES = FeatureFiles("user_features.jsonl", "user_edges.jsonl")
_MIN_USERS = 20  # a feature of fewer users tells rather who they are

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Profiles:
    """What is known of B users; empty bags where nothing is.

    Attributes:
        own: features of users, of G.
        interests: features of items that the interests name, of F.
    """

    own: Bags
    interests: Bags

    def __len__(self) -> int:
        return len(self.own)

    @property
    def empty(self) -> bool:
        """Whether nothing is known of anybody."""
        return not len(self.own.ids) and not len(self.interests.ids)

    def take(self, users: Rows) -> Profiles:
        """Those of some users; -1 = of one of whom nothing is known."""
        return Profiles(self.own.take(users), self.interests.take(users))

    def followed_by(self, others: Profiles) -> Profiles:
        """These profiles and then those."""
        return Profiles(self.own.followed_by(others.own), self.interests.followed_by(others.interests))

    def hidden(self, share: float, rng: np.random.Generator) -> Profiles:
        """The same users, of whom a share drawn at random tells nothing: the models must do without, too."""
        if self.empty or not share:
            return self
        return self.take(np.where(rng.random(len(self)) < share, UNKNOWN_ROW, np.arange(len(self))))


@dataclass(frozen=True, slots=True)
class UserFeaturizer:
    """Turns users into bags with the features that training has found.

    Attributes:
        names: the features of users; row i is feature i.
        edges: bin edges of each numeric attribute.
    """

    names: Vocabulary
    edges: Edges

    @classmethod
    def fit(cls, users: Sequence[User], limit: int) -> UserFeaturizer:
        """Find the features of users, the `limit` most frequent ones at most."""
        users = [normalised_user(user) for user in users]
        edges = fit_edges(user.attributes for user in users)
        return cls(frequent_names((_features(user, edges) for user in users), limit, _MIN_USERS), edges)

    @classmethod
    def load(cls, bundle: Bundle) -> UserFeaturizer:
        """Open that of a bundle."""
        return cls(*FILES.load(bundle))

    def save(self, folder: Path) -> None:
        """Write it into a bundle's folder."""
        FILES.save(folder, self.names, self.edges)

    def profiles(self, users: Sequence[User | None], item_features: Vocabulary) -> Profiles:
        """The profiles of users, row-aligned; None is somebody of whom nothing is known.

        Args:
            users: whoever asks.
            item_features: the F features of items, by name.
        """
        known = [None if user is None else normalised_user(user) for user in users]
        return Profiles(
            Bags.of((() if user is None else _features(user, self.edges) for user in known), self.names),
            Bags.of((() if user is None else _interests(user) for user in known), item_features),
        )


NOBODY = UserFeaturizer(Vocabulary(()), {})
"""For data that tell nothing of users."""


def _features(user: User, edges: Edges) -> Iterator[tuple[str, str]]:
    """The features of one user as (group, name)."""
    for tag in user.interest_tags:
        yield "interest", f"interest:{tag}"
    for name, value in user.attributes.items():
        yield f"attribute:{name}", attribute_feature(name, value, edges)


def _interests(user: User) -> Iterator[tuple[str, str]]:
    """The features of items that one user's interests name."""
    for tag in user.interest_tags:
        yield "category", f"category:{tag}"
        yield "tag", f"tag:{tag}"
