"""A training that begins where another bundle's models ended, on the same data or on others.

What has the same meaning in both is taken over: the history encoder as a whole, features by name (a category, a tag, a
word), projections of content vectors by encoder, and ids of items that are the same. Ids alone do not tell that: "17"
is a film here and a shampoo there. So an id vector is taken over when the item's features, too, are mostly the same.

d width, N items, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from services.trainer.datasets import DatasetError
from shared.domain.vocabulary import UNKNOWN_ROW, Vocabulary
from shared.model.item_tower import FeatureEncoding, ItemTable
from shared.model.ranker import RankerModel
from shared.model.ranker_network import RankerNetwork
from shared.model.retriever import RetrieverModel, RetrieverNetwork

Rows = npt.NDArray[np.int64]

_WITH_THE_RETRIEVER = ("tower.", "encoder.", "out.", "profile.")
_BY_ACTION = frozenset({
    "scale", "user_bias.weight", "user_bias.bias", "content_bias.weight", "external.weight", "interaction.weight",
})  # fmt: skip
"""Weights of the ranker's network whose first dimension is the action."""

SAME_FEATURES = 0.5
"""Jaccard similarity of two feature sets from which on equal ids mean equal items."""


@dataclass(frozen=True, slots=True)
class TakenOver:
    """How much of the new network began as the old one's.

    Attributes:
        ids, features: rows of the new embeddings that were taken over.
        encoders: content encoders (modality and name) whose projection was taken over.
    """

    ids: int
    features: int
    encoders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Another bundle's retriever.

    Attributes:
        source: the retriever.
        version: of its bundle, for messages.
        ranker: goes on too; None: the ranker begins as the new retriever.
        same_log: the items are those of the same log: equal ids are equal items.
    """

    source: RetrieverModel
    version: str
    ranker: RankerModel | None = None
    same_log: bool = False

    def put_into(
        self, network: RetrieverNetwork, encoding: FeatureEncoding, table: ItemTable, items: Vocabulary
    ) -> TakenOver:
        """Overwrite what the new network has in common with the old one.

        Args:
            network: untrained, of the new data.
            encoding: how the new data's items are read.
            table: the items.
            items: their ids.

        Raises:
            DatasetError: the networks have different shapes.
        """
        old, new = self.source.network, network
        if old.settings != new.settings:
            raise DatasetError(
                f"bundle {self.version} has a network of another shape ({old.settings}) than this training "
                f"({new.settings}); train with the preset that it was trained with"
            )
        return self._taken_over(new, old, encoding, table, items)

    def put_into_ranker(self, new: RankerModel) -> None:
        """Everything the ranker has learned; heads of actions that are new to it begin at zero."""
        if self.ranker is None:
            return
        mine, theirs = new.parts, self.ranker.parts
        self._taken_over(mine.network, theirs.network, mine.encoding, mine.table, mine.vocabulary)
        items = self._same_items(mine.encoding, mine.table, mine.vocabulary)
        heads = np.array([_place(theirs.actions, kind) for kind in mine.actions], np.int64)
        old = theirs.network.state_dict()
        for name, tensor in mine.network.state_dict().items():
            if name.startswith(_WITH_THE_RETRIEVER):
                continue
            if name in _BY_ACTION:
                _put(tensor, old[name], heads)
            elif name == "item_bias.weight":
                columns = torch.zeros(len(old[name]), len(heads))
                _put(columns.T, old[name].T, heads)
                _put(tensor, columns, items)
            elif name == "rating.item_bias.weight":
                _put(tensor, old[name], items)
            else:
                tensor.copy_(old[name])

    def _taken_over(
        self,
        new: RetrieverNetwork | RankerNetwork,
        old: RetrieverNetwork | RankerNetwork,
        encoding: FeatureEncoding,
        table: ItemTable,
        items: Vocabulary,
    ) -> TakenOver:
        new.encoder.load_state_dict(old.encoder.state_dict())
        new.out.load_state_dict(old.out.state_dict())
        new.profile.interests.load_state_dict(old.profile.interests.state_dict())
        of_users = self.source.encoding.users.names.rows(encoding.users.names.ids)
        _put(new.profile.features.weight.detach(), old.profile.features.weight.detach(), of_users)
        names = encoding.featurizer.names
        features = self.source.encoding.featurizer.names.rows(names.ids)
        encoders = [each for each in encoding.encoders if each in self.source.encoding.encoders]
        for each in encoders:
            new.tower.content[each.modality].load_state_dict(old.tower.content[each.modality].state_dict())
        return TakenOver(
            ids=_copied(new.tower.ids, old.tower.ids, self._same_items(encoding, table, items)),
            features=_copied(new.tower.features, old.tower.features, features),
            encoders=tuple(f"{each.modality} by {each.encoder_id}" for each in encoders),
        )

    def _same_items(self, encoding: FeatureEncoding, table: ItemTable, items: Vocabulary) -> Rows:
        """(N,) the old row of each new item, -1 where it is not the same item."""
        rows = self.source.vocabulary.rows(items.ids)
        if self.same_log:
            return rows
        for new in np.flatnonzero(rows != UNKNOWN_ROW).tolist():
            mine, theirs = _names(encoding, table, new), _names(self.source.encoding, self.source.table, int(rows[new]))
            if not mine or len(mine & theirs) < SAME_FEATURES * len(mine | theirs):
                rows[new] = UNKNOWN_ROW
        return rows


def _names(encoding: FeatureEncoding, table: ItemTable, row: int) -> set[str]:
    ids = table.bags.ids[table.bags.offsets[row] : table.bags.offsets[row + 1]]
    return {encoding.featurizer.names.ids[feature] for feature in ids.tolist()}


def _copied(new: nn.Embedding, old: nn.Embedding, rows: Rows) -> int:
    """Copy the old row of each new one, where there is one; gives how many."""
    _put(new.weight.detach(), old.weight.detach(), rows)
    return int((rows != UNKNOWN_ROW).sum())


def _put(new: Tensor, old: Tensor, rows: Rows) -> None:
    known = rows != UNKNOWN_ROW
    new[torch.from_numpy(np.flatnonzero(known))] = old[torch.from_numpy(rows[known])]


def _place(actions: tuple[int, ...], kind: int) -> int:
    return actions.index(kind) if kind in actions else UNKNOWN_ROW
