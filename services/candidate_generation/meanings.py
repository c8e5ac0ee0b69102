"""What items mean: the text vectors that come with the catalogue, and queries as vectors of the same encoder.

The comparison is exact, one product over all vectors: 100,000 items of 512 numbers take some 20 ms of a core. So where
there are many it is made in the encoder's thread.

S slots, D numbers a vector.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import Executor

import numpy as np
import numpy.typing as npt

from shared.domain.items import ContentVector, Item
from shared.model.content import TEXT, FrozenEncoder
from shared.model.text_form import normalised_text

Floats = npt.NDArray[np.float32]

_FIRST_CAPACITY = 64
_REMEMBERED_QUERIES = 1_000
MOST_AT_ONCE = 1 << 20
"""Numbers that are compared on the event loop: some 0.3 ms."""


class MeaningVectors:
    """The unit text vector of each slot, zero where there is none.

    Args:
        encoder_id: vectors of any other encoder are passed over; "": all are.
        width: D as the encoder makes them; vectors of another width are passed over too, whatever encoder they name.
    """

    def __init__(self, encoder_id: str = "", width: int = 0) -> None:
        self._encoder_id, self._width = encoder_id, width
        self._vectors: Floats = np.zeros((0, width), np.float32)
        self._known = 0

    def __len__(self) -> int:
        """How many slots have got a vector so far."""
        return self._known

    def changed(self, slot: int, item: Item) -> None:
        """The slot holds this content now."""
        values = next((each.values for each in item.vectors if self._fits(each)), None)
        if values is not None:
            self._reserve(slot)
        if slot < len(self._vectors):
            self._put(slot, values)

    @property
    def numbers(self) -> int:
        """How many numbers one comparison reads."""
        return self._vectors.size

    def cosines(self, query: Floats, size: int) -> Floats:
        """(S,) with each slot; 0 where there is no vector.

        From any thread: an item that changes meanwhile may be judged by a mixture of what it meant and means.
        """
        scores, vectors = np.zeros(size, np.float32), self._vectors
        held = min(size, len(vectors))
        scores[:held] = vectors[:held] @ query
        return scores

    def _fits(self, vector: ContentVector) -> bool:
        known = vector.modality == TEXT and vector.encoder_id == self._encoder_id
        return known and len(vector.values) == self._width

    def _put(self, slot: int, values: Floats | None) -> None:
        had = bool(self._vectors[slot].any())
        norm = 0.0 if values is None else float(np.linalg.norm(values))
        self._vectors[slot] = values / norm if values is not None and norm > 0 else 0
        self._known += bool(norm > 0) - had

    def _reserve(self, slot: int) -> None:
        if slot >= len(self._vectors):
            grown = np.zeros((max(slot + 1, 2 * len(self._vectors), _FIRST_CAPACITY), self._width), np.float32)
            grown[: len(self._vectors)] = self._vectors
            self._vectors = grown


class QueryEncoder:
    """Queries as vectors, in a thread of its own.

    Args:
        encoder: of the items' texts.
        thread: where it runs.

    Attributes:
        ready: the encoder's weights have been read.
    """

    def __init__(self, encoder: FrozenEncoder, thread: Executor) -> None:
        self._encoder, self._thread = encoder, thread
        self._remembered: OrderedDict[str, Floats] = OrderedDict()
        self.ready = False

    async def warm_up(self) -> None:
        """Read the weights before the first query does."""
        await self._encoded("a query")
        self.ready = True

    async def vector(self, text: str, patience_ms: float) -> Floats:
        """(D,) the query's unit vector; often asked ones are remembered, those that came too late too.

        Raises:
            TimeoutError: it takes longer than that.
        """
        text = normalised_text(text)  # as the items' texts are
        if (known := self._remembered.get(text)) is not None:
            self._remembered.move_to_end(text)
            return known
        async with asyncio.timeout(patience_ms / 1000):
            return await self._encoded(text)

    async def compared(self, vector: Floats, meanings: MeaningVectors, size: int) -> Floats:
        """(S,) the cosines of a query's vector with each slot."""
        if meanings.numbers <= MOST_AT_ONCE:
            return meanings.cosines(vector, size)
        return await asyncio.get_running_loop().run_in_executor(self._thread, meanings.cosines, vector, size)

    async def _encoded(self, text: str) -> Floats:
        loop = asyncio.get_running_loop()

        def encode() -> Floats:
            made: Floats = self._encoder.encode([text.encode()]).vectors[0]
            loop.call_soon_threadsafe(self._remember, text, made)  # also for the next who asks, if this one is gone
            return made

        return await loop.run_in_executor(self._thread, encode)

    def _remember(self, text: str, vector: Floats) -> None:
        self._remembered[text] = vector
        if len(self._remembered) > _REMEMBERED_QUERIES:
            self._remembered.popitem(last=False)
