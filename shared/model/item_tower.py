"""From an item to its vector: a learned id, what it is made of, and the vectors of its content by frozen encoders.

An item nobody has seen has no id vector and is described by the rest alone; training hides ids at random so that the
rest learns to carry it (Volkovs et al. 2017, DropoutNet).

N items of the bundle, M items of a table, n items asked for, F features, d width.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from shared.domain.items import Item, User
from shared.domain.vocabulary import UNKNOWN_ROW, Vocabulary
from shared.model.bundle import Bundle, read_strings, write_arrays, write_strings
from shared.model.item_features import Bags, ItemFeaturizer
from shared.model.user_features import NOBODY, Profiles, UserFeaturizer

TABLE_FILE = "items.safetensors"
ENCODERS_FILE = "encoders.jsonl"
INITIAL_SCALE = 0.02

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ContentEncoder:
    """A frozen encoder whose vectors the tower understands; vectors of any other are passed over."""

    modality: str
    encoder_id: str
    size: int


@dataclass(frozen=True, slots=True)
class TowerInputs:
    """n items as the tower reads them.

    Attributes:
        id_rows: (n,) int64, -1 = the id is not known.
        bag_ids, bag_weights: features of all of them, one item behind the other.
        bag_items: (nnz,) which of the n items each feature belongs to.
        vectors: by modality (n, size) unit vectors, zero where an item has none.
    """

    id_rows: Tensor
    bag_ids: Tensor
    bag_weights: Tensor
    bag_items: Tensor
    vectors: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class ItemTable:
    """What is known of M items: the N of the bundle and, in an extended table, newer ones behind them.

    Attributes:
        id_rows: (M,) int64, the row itself below N, -1 behind.
        bags: their features.
        vectors: by modality (M, size) float32.
    """

    id_rows: Rows
    bags: Bags
    vectors: dict[str, npt.NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.id_rows)

    def inputs(self, rows: Rows) -> TowerInputs:
        """The tower's inputs for these rows, (n,); a row of -1 is an item of which nothing is known."""
        bags = self.bags.take(rows)
        known = rows != UNKNOWN_ROW
        place = np.where(known, rows, 0)
        owners = np.repeat(np.arange(len(rows)), np.diff(bags.offsets))
        return TowerInputs(
            id_rows=torch.from_numpy(np.where(known, self.id_rows[place], UNKNOWN_ROW)),
            bag_ids=torch.from_numpy(bags.ids),
            bag_weights=torch.from_numpy(bags.weights),
            bag_items=torch.from_numpy(owners),
            vectors={
                name: torch.from_numpy(matrix[place] * known[:, None].astype(np.float32))
                for name, matrix in self.vectors.items()
            },
        )


@dataclass(frozen=True, slots=True)
class FeatureEncoding:
    """How items and users of the domain become features: fitted once, kept in the bundle.

    Attributes:
        featurizer: features of the training data's items.
        encoders: the content encoders that were there, one a modality.
        users: features of the training data's users.
    """

    featurizer: ItemFeaturizer
    encoders: tuple[ContentEncoder, ...]
    users: UserFeaturizer = NOBODY

    @classmethod
    def fit(cls, items: Sequence[Item], feature_limit: int, users: Sequence[User] = ()) -> FeatureEncoding:
        """Find the features of a catalogue and of users and, per modality, the most frequent encoder."""
        counts: dict[str, dict[ContentEncoder, int]] = {}
        for item in items:
            for vector in item.vectors:
                encoder = ContentEncoder(vector.modality, vector.encoder_id, len(vector.values))
                seen = counts.setdefault(vector.modality, {})
                seen[encoder] = seen.get(encoder, 0) + 1
        encoders = tuple(
            max(counts[modality], key=lambda found: counts[modality][found]) for modality in sorted(counts)
        )
        return cls(ItemFeaturizer.fit(items, feature_limit), encoders, UserFeaturizer.fit(users, feature_limit))

    @classmethod
    def load(cls, bundle: Bundle) -> FeatureEncoding:
        """Open that of a bundle."""
        lines = read_strings(bundle.file(ENCODERS_FILE))
        encoders = tuple(ContentEncoder(*json.loads(line)) for line in lines)
        return cls(ItemFeaturizer.load(bundle), encoders, UserFeaturizer.load(bundle))

    def save(self, folder: Path) -> None:
        """Write it into a bundle's folder."""
        self.featurizer.save(folder)
        self.users.save(folder)
        lines = tuple(json.dumps([found.modality, found.encoder_id, found.size]) for found in self.encoders)
        write_strings(folder / ENCODERS_FILE, lines)

    def table(self, items: Sequence[Item], vocabulary: Vocabulary) -> ItemTable:
        """Encode items; those of the vocabulary get their id."""
        return ItemTable(
            id_rows=vocabulary.rows([item.item_id for item in items]),
            bags=self.featurizer.bags(items),
            vectors={encoder.modality: _vectors(items, encoder) for encoder in self.encoders},
        )

    def profiles(self, users: Sequence[User | None]) -> Profiles:
        """Encode users; None is somebody of whom nothing is known."""
        return self.users.profiles(users, self.featurizer.names)


def save_table(table: ItemTable, folder: Path) -> None:
    """Write the table of the bundle's own items, row-aligned with the vocabulary."""
    arrays = {f"vector.{name}": matrix.astype(np.float16) for name, matrix in table.vectors.items()}
    bags: dict[str, npt.NDArray[Any]] = {
        "bag_offsets": table.bags.offsets,
        "bag_ids": table.bags.ids,
        "bag_weights": table.bags.weights,
    }
    write_arrays(folder / TABLE_FILE, {**arrays, **bags})


def load_table(bundle: Bundle) -> ItemTable:
    """Read what `save_table` wrote."""
    arrays = bundle.arrays(TABLE_FILE)
    prefix = "vector."
    return ItemTable(
        id_rows=np.arange(len(bundle.vocabulary)),
        bags=Bags(arrays["bag_offsets"], arrays["bag_ids"], arrays["bag_weights"]),
        vectors={name.removeprefix(prefix): array.astype(np.float32)
                 for name, array in arrays.items() if name.startswith(prefix)},
    )  # fmt: skip


class ItemTower(nn.Module):
    """Sums id, features and projected content vectors.

    Args:
        items: N.
        features: F.
        encoders: the content encoders.
        width: d.
    """

    def __init__(self, items: int, features: int, encoders: Sequence[ContentEncoder], width: int) -> None:
        super().__init__()
        self.ids = nn.Embedding(items, width)
        self.features = nn.Embedding(max(features, 1), width)
        self.content = nn.ModuleDict({found.modality: nn.Linear(found.size, width, bias=False) for found in encoders})
        for embedding in (self.ids, self.features):
            nn.init.normal_(embedding.weight, std=INITIAL_SCALE)

    def forward(self, inputs: TowerInputs, id_dropout: float = 0.0) -> Tensor:
        """(n, d) vectors, not normalised; `id_dropout` of the ids are hidden."""
        known = inputs.id_rows >= 0
        if id_dropout:
            known = known & (torch.rand(len(known)) >= id_dropout)
        out: Tensor = self.ids(inputs.id_rows.clamp(min=0)) * known[:, None]
        weighted = self.features(inputs.bag_ids) * inputs.bag_weights[:, None]
        out = out.index_add(0, inputs.bag_items, weighted)
        for name, projection in self.content.items():
            out = out + projection(inputs.vectors[name])
        return out


def _vectors(items: Sequence[Item], encoder: ContentEncoder) -> npt.NDArray[np.float32]:
    matrix = np.zeros((len(items), encoder.size), np.float32)
    for row, item in enumerate(items):
        for vector in item.vectors:
            if (vector.modality, vector.encoder_id, len(vector.values)) == (
                encoder.modality,
                encoder.encoder_id,
                encoder.size,
            ):
                norm = float(np.linalg.norm(vector.values))
                matrix[row] = vector.values / norm if norm > 0 else 0
    return matrix
