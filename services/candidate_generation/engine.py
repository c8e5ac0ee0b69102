"""One bundle at work: user tower, index and transitions, kept in step with the catalogue.

What the catalogue holds and the bundle does not gets a vector from its content; what is gone gets a tombstone. `follow`
does that from whatever state it finds, so the same code serves a fresh bundle and every upsert.

S slots of the catalogue, T slots of the index, D vector size, B queries, N items.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from services.candidate_generation.catalogue import NOWHERE, Catalogue
from services.candidate_generation.filters import Eligible
from services.candidate_generation.links import SlotLinks
from services.candidate_generation.recall_watch import RecallWatch, Search
from services.candidate_generation.telemetry import ENCODED_ITEMS
from services.candidate_generation.user_vectors import UserVectors
from shared.domain.history import History
from shared.domain.items import Item, User
from shared.domain.vocabulary import UNKNOWN_ROW, Vocabulary
from shared.domain.watermark import Watermark
from shared.model.index import NONE, Found
from shared.model.live_index import LiveIndex
from shared.model.transitions import TransitionTable

Slots = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
R = TypeVar("R")

_ENCODED_AT_ONCE = 256
_MOST_MASKS = 32
_SAME_VECTOR = 0.999  # cosine from which on changed content leaves an item where the trees have it


class Towers(Protocol):
    """What makes vectors: `shared.model.retriever.RetrieverModel`."""

    def user_vectors(
        self,
        histories: Sequence[History],
        fresh: Mapping[str, Item] | None = None,
        users: Sequence[User | None] | None = None,
    ) -> Floats:
        """(B, D) unit vectors; `fresh` is the content of items that the bundle does not know."""

    def item_vectors(self, items: Sequence[Item]) -> Floats:
        """(N, D) unit vectors; unknown items by content alone."""


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What a bundle holds for retrieval.

    Attributes:
        version: of the bundle.
        watermark: log position that its training data went up to; empty when it is not from this log.
        vectors: (N, D) of the bundle's items, as the index has them.
    """

    version: str
    watermark: str
    vocabulary: Vocabulary
    towers: Towers
    index: LiveIndex
    vectors: Floats
    transitions: TransitionTable


@dataclass(frozen=True, slots=True)
class Threads:
    """Where what takes longer than a hop runs: searches in one thread, so encoding never delays them in another."""

    search: Executor
    encode: Executor


class Engine:
    """Answers from one bundle. Called on the event loop; what takes time runs in its threads."""

    def __init__(self, parts: EngineParts, threads: Threads, recall: RecallWatch | None = None) -> None:
        self.parts = parts
        self._threads = threads
        self._recall = recall
        self._links = SlotLinks()
        self._watermark = Watermark.parse(parts.watermark)
        self._followed = -1
        self._masks: dict[object, Mask] = {}
        self._user_vectors = UserVectors()

    @property
    def index_version(self) -> str:
        """The bundle and the kind of search that answers."""
        return f"{self.parts.version}/{'exact' if self.parts.index.exact else 'annoy'}"

    # Keeping in step

    def behind(self, catalogue: Catalogue) -> bool:
        """Whether the catalogue has changed since the last `follow`."""
        return self._followed != catalogue.version

    async def follow(self, catalogue: Catalogue) -> None:
        """Give every new or changed item its vector and every deleted one its tombstone."""
        version = catalogue.version
        changed = np.flatnonzero(catalogue.content_versions > self._followed)
        alive = catalogue.alive[changed]
        self._forget(catalogue, changed[~alive])
        to_encode = self._adopt(catalogue, changed[alive])
        for start in range(0, len(to_encode), _ENCODED_AT_ONCE):
            await self._encode(catalogue, to_encode[start : start + _ENCODED_AT_ONCE])
        self._followed = version

    def _forget(self, catalogue: Catalogue, slots: Slots) -> None:
        if len(slots):
            self.parts.index.delete(catalogue.item_ids(slots))
            for slot in slots.tolist():
                self._links.forget(slot)

    def _adopt(self, catalogue: Catalogue, slots: Slots) -> Slots:
        """Link the items that the bundle knows; return those whose vector must be made.

        An item that this engine meets for the first time has the bundle's vector, unless it is newer than the bundle.
        """
        item_ids = catalogue.item_ids(slots)
        rows, found = self.parts.vocabulary.rows(item_ids), self.parts.index.slots(item_ids)
        first = (found != NONE) & (self._links.index_slots(slots) == NONE)
        for slot, row, index_slot, adopted in zip(*(c.tolist() for c in (slots, rows, found, first)), strict=True):
            if row != UNKNOWN_ROW:
                self._links.link_row(slot, row)
            if adopted:
                self._links.link(slot, index_slot)
        newer = [not adopted or self._newer(catalogue.updated_watermark(slot))
                 for slot, adopted in zip(slots.tolist(), first.tolist(), strict=True)]  # fmt: skip
        chosen: Slots = slots[np.array(newer, np.bool_)]
        return chosen

    def _newer(self, updated: str) -> bool:
        if not self.parts.watermark or not updated:
            return False
        return not self._watermark.covers(Watermark.parse(updated))

    async def _encode(self, catalogue: Catalogue, slots: Slots) -> None:
        items = [catalogue.item(slot) for slot in slots.tolist()]
        vectors = await _in(self._threads.encode, lambda: self.parts.towers.item_vectors(items))
        ENCODED_ITEMS.inc(len(items))
        moved = ~self._unmoved(slots, vectors)
        item_ids = [item.item_id for item, is_moved in zip(items, moved.tolist(), strict=True) if is_moved]
        self.parts.index.upsert(item_ids, vectors[moved])
        found = self.parts.index.slots(item_ids)
        for slot, index_slot in zip(slots[moved].tolist(), found.tolist(), strict=True):
            self._links.link(slot, index_slot)

    def _unmoved(self, slots: Slots, vectors: Floats) -> Mask:
        """Items that the trees still have at the right place: they stay there."""
        rows = self._links.rows(slots)
        cosines = np.einsum("nd,nd->n", self.parts.vectors[np.maximum(rows, 0)], vectors)
        unmoved: Mask = (rows != NONE) & (rows == self._links.index_slots(slots)) & (cosines > _SAME_VECTOR)
        return unmoved

    # Answering

    async def user_vector(self, history: History, catalogue: Catalogue, user: User | None = None) -> Floats:
        """(1, D) the user's vector; items that are newer than the bundle speak by their content."""
        unknown = [item_id for item_id in history.item_ids if item_id not in self.parts.vocabulary]
        slots = catalogue.slots(unknown).tolist()
        fresh = {name: catalogue.item(slot) for name, slot in zip(unknown, slots, strict=True) if slot != NOWHERE}
        if not fresh and (kept := self._user_vectors.get(history, user)) is not None:
            return kept
        vector = await _in(self._threads.search, lambda: self.parts.towers.user_vectors([history], fresh, [user]))
        if not fresh:  # what is not in the bundle may change
            self._user_vectors.keep(history, vector, user)
        return vector

    async def item_vectors(self, items: Sequence[Item]) -> Floats:
        """(N, D) vectors of items."""
        return await _in(self._threads.search, lambda: self.parts.towers.item_vectors(items))

    async def nearest(self, vectors: Floats, k: int, eligible: Eligible) -> list[tuple[Slots, Floats]]:
        """For each of the (B, D) vectors the k nearest eligible items, nearest first: slots and cosines."""
        return await self._search(vectors, k, self._index_mask(eligible))

    async def nearest_among(self, vectors: Floats, k: int, slots: Slots) -> list[tuple[Slots, Floats]]:
        """The same among a few slots of the catalogue."""
        mask = np.zeros(self.parts.index.size, np.bool_)
        index_slots = self._links.index_slots(slots)
        mask[index_slots[index_slots != NONE]] = True
        return await self._search(vectors, k, mask)

    def knows(self, slots: Slots) -> Mask:
        """Which of these catalogue slots hold items of the bundle's vocabulary."""
        return np.not_equal(self._links.rows(slots), NONE)

    def following(self, history: History, k: int) -> tuple[Slots, Floats]:
        """What the transitions expect after a history: at most k slots, best first, with scores."""
        found = self.parts.transitions.search([history], self.parts.vocabulary, k)
        return _translated(found, self._links.of_rows)[0]

    def similar(self, item_ids: Sequence[str], k: int) -> list[tuple[Slots, Floats]]:
        """For each item that the bundle knows, at most k slots of its strongest followers, best first."""
        rows = self.parts.vocabulary.rows(item_ids)
        return _translated(self.parts.transitions.similar(rows[rows != UNKNOWN_ROW], k), self._links.of_rows)

    async def _search(self, vectors: Floats, k: int, mask: Mask) -> list[tuple[Slots, Floats]]:
        found = await _in(self._threads.search, lambda: self.parts.index.search(vectors, k, mask))
        if self._recall is not None:
            self._recall.consider(Search(self.parts.index, vectors, k, mask, found))
        return _translated(found, self._links.of_index)

    def _index_mask(self, eligible: Eligible) -> Mask:
        """(T,) eligible index slots: the content part of the filter is kept, the excluded ids are the request's."""
        key = eligible.content.key, self._links.version
        base = self._masks.get(key)
        if base is None:
            base = eligible.content.of(self._links.whole_index(self.parts.index.size))
            if len(self._masks) >= _MOST_MASKS:
                self._masks.clear()
            self._masks[key] = base
        if not len(eligible.excluded):
            return base
        mask = base.copy()
        gone = self._links.index_slots(eligible.excluded)
        mask[gone[gone != NONE]] = False
        return mask


def _translated(found: Found, to_slots: Callable[[Slots], Slots]) -> list[tuple[Slots, Floats]]:
    answers = []
    for rows, scores in zip(found.rows, found.scores, strict=True):
        kept = rows != NONE
        slots = to_slots(rows[kept])
        living = slots != NOWHERE
        answers.append((slots[living], scores[kept][living]))
    return answers


async def _in(executor: Executor, work: Callable[[], R]) -> R:
    return await asyncio.get_running_loop().run_in_executor(executor, work)
