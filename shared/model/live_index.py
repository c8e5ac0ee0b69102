"""The index that serves: Annoy for the bundle's items, an exact delta for what is newer, tombstones for what is gone.

A *slot* is an item's place here: slots below the bundle's size are its item rows, later ones are items that came after.
An upserted item of the bundle moves to a new slot (its old one becomes a tombstone), so slots never change their item.

B queries, S slots, D vector size, k results.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from shared.domain.vocabulary import Vocabulary
from shared.model.bundle import Bundle
from shared.model.index import NONE, AnnoyItemIndex, Floats, Found, Rows, best_of

# Below this share of eligible items, exact search over just those is cheaper than over-fetching from the trees.
_SPARSE = 0.1
_OVER_FETCH = 1.25


class LiveIndex:
    """Searches that see every upsert and delete at once. All methods are thread-safe.

    Args:
        index: the bundle's trees and vectors.
        vocabulary: the bundle's items, row-aligned with the index.
        search_k: the tuned search effort.
        exact: ignore the trees and compare with every item (a setting; the oracle of tests).
    """

    def __init__(self, index: AnnoyItemIndex, vocabulary: Vocabulary, search_k: int, *, exact: bool = False) -> None:
        self._index, self._vocabulary, self._search_k, self.exact = index, vocabulary, search_k, exact
        self._lock = threading.Lock()
        self._moved: dict[str, int] = {}  # items that live in the delta, or nowhere (NONE)
        self._fresh_ids: list[str] = []
        self._fresh: Floats = np.empty((0, index.vectors.shape[1]), np.float32)  # grows by doubling
        self._live = np.ones(len(index), np.bool_)  # (capacity,) by slot, grows with the delta

    @classmethod
    def load(cls, bundle: Bundle, *, exact: bool = False) -> LiveIndex:
        """Open the index of a bundle."""
        return cls(AnnoyItemIndex.load(bundle), bundle.vocabulary, bundle.manifest.search_k, exact=exact)

    def __len__(self) -> int:
        """How many items can be found."""
        with self._lock:
            return int(self._live[: self.size].sum())

    @property
    def size(self) -> int:
        """S: slots so far, those of deleted items included."""
        return len(self._index) + len(self._fresh_ids)

    def slots(self, item_ids: Sequence[str]) -> Rows:
        """(N,) the slot of each item, `NONE` for what cannot be found."""
        with self._lock:
            return np.array([self._slot(item_id) for item_id in item_ids], np.int64)

    def ids(self, slots: npt.ArrayLike) -> list[str]:
        """The items in these slots (1-D, none of them `NONE`)."""
        known = len(self._index)
        names, fresh = self._vocabulary.ids, self._fresh_ids
        return [names[slot] if slot < known else fresh[slot - known] for slot in np.asarray(slots).tolist()]

    def upsert(self, item_ids: Sequence[str], vectors: Floats) -> None:
        """Make items findable under these unit vectors, (N, D), from the next search on."""
        if len(item_ids) != len(vectors):
            raise ValueError(f"{len(item_ids)} items but {len(vectors)} vectors")
        with self._lock:
            self._reserve(len(item_ids))
            for item_id, vector in zip(item_ids, vectors, strict=True):
                self._bury(item_id)
                position = len(self._fresh_ids)
                self._fresh[position] = vector
                self._live[len(self._index) + position] = True
                self._moved[item_id] = len(self._index) + position
                self._fresh_ids.append(item_id)  # last: a search that sees the slot sees its vector

    def delete(self, item_ids: Sequence[str]) -> None:
        """Make items unfindable from the next search on; unknown ones are ignored."""
        with self._lock:
            for item_id in item_ids:
                self._bury(item_id)

    def by_trees(self, k: int, eligible: npt.NDArray[np.bool_]) -> bool:
        """Whether a search among these slots asks the trees, whose answer is approximate."""
        return not self._compares_all(
            k, eligible[: len(self._index)] & self._live[: min(len(eligible), len(self._index))]
        )

    def search(
        self, queries: Floats, k: int, eligible: npt.NDArray[np.bool_] | None = None, *, exact: bool = False
    ) -> Found:
        """The k best live slots of each query, filled up while eligible items exist.

        Args:
            queries: (B, D) unit vectors.
            k: results wanted.
            eligible: (S',) by slot, S' at most `size`; later slots are not eligible. None = every live item.
            exact: compare with every item, whatever the settings say: the truth that an answer is measured against.
        """
        with self._lock:
            size = self.size
            allowed = self._live[:size].copy()
            fresh = self._fresh[: size - len(self._index)]
        if eligible is not None:
            allowed[: len(eligible)] &= eligible
            allowed[len(eligible) :] = False
        known = len(self._index)
        rows = np.flatnonzero(allowed[:known])
        trees = not exact and not self._compares_all(k, allowed[:known])
        base = self._by_trees(queries, k, allowed[:known]) if trees else _exact(self._index.vectors, queries, k, rows)
        delta = _exact(fresh, queries, k, np.flatnonzero(allowed[known:]))
        delta_rows = np.where(delta.rows == NONE, NONE, delta.rows + known)
        return best_of(np.hstack([base.rows, delta_rows]), np.hstack([base.scores, delta.scores]), k)

    def _compares_all(self, k: int, allowed: npt.NDArray[np.bool_]) -> bool:
        return self.exact or int(allowed.sum()) <= max(k, _SPARSE * len(allowed))

    def _by_trees(self, queries: Floats, k: int, allowed: npt.NDArray[np.bool_]) -> Found:
        share = int(allowed.sum()) / len(allowed)
        wanted = k if share == 1 else min(len(allowed), int(k / share * _OVER_FETCH) + 16)
        found = self._index.query(queries, wanted, max(self._search_k, int(self._search_k / share)))
        kept = best_of(np.where((found.rows != NONE) & allowed[found.rows], found.rows, NONE), found.scores, k)
        short = (kept.rows == NONE).any(axis=1)
        if short.any():  # the filter cut more than its share here: answer these queries exactly
            filled = _exact(self._index.vectors, queries[short], k, np.flatnonzero(allowed))
            kept.rows[short], kept.scores[short] = filled.rows, filled.scores
        return kept

    def _slot(self, item_id: str) -> int:
        slot = self._moved.get(item_id)
        return self._vocabulary.row(item_id) if slot is None else slot

    def _bury(self, item_id: str) -> None:
        slot = self._slot(item_id)
        if slot != NONE:
            self._live[slot] = False
            self._moved[item_id] = NONE

    def _reserve(self, more: int) -> None:
        needed = len(self._fresh_ids) + more
        if needed <= len(self._fresh):
            return
        grown = np.zeros((max(needed, 2 * len(self._fresh), 64), self._index.vectors.shape[1]), np.float32)
        grown[: len(self._fresh)] = self._fresh
        live = np.zeros(len(self._index) + len(grown), np.bool_)
        live[: len(self._live)] = self._live
        self._fresh, self._live = grown, live


def _exact(vectors: Floats, queries: Floats, k: int, rows: Rows) -> Found:
    """Exact search over a subset of the rows."""
    chosen = vectors if len(rows) == len(vectors) else vectors[rows]
    scores = (queries @ chosen.T).astype(np.float32)  # (B, len(rows))
    if k < len(rows):
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        return best_of(rows[best], np.take_along_axis(scores, best, axis=1), k)
    return best_of(np.broadcast_to(rows, scores.shape).astype(np.int64), scores, k)
