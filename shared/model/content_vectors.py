"""Items in, their content vectors out: from the cache where the content is known, else computed in batches.

What the caller sent along wins: a modality that an item already has a vector of is not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from shared.domain.items import ContentVector, Item
from shared.model.content import ContentError, ContentReader, Floats, FrozenEncoder, content_hash
from shared.model.content_cache import VectorCache

MOST_VECTORS = 8
"""Of an item, as the contract says."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One modality: where its content stands and what encodes it."""

    reader: ContentReader
    encoder: FrozenEncoder


@dataclass(frozen=True, slots=True)
class Refusal:
    """A content that got no vector.

    Attributes:
        item_id: whose.
        reference: of the content; "" when it stands in the item.
        reason: why.
    """

    item_id: str
    reference: str
    reason: str


@dataclass(slots=True)
class Computed:
    """What became of some items.

    Attributes:
        vectors: by item id, those that were computed or cached; an item without any is left out.
        refusals: contents that could not be used.
        missing: item ids with content that is not in the cache (when only the cache was asked).
    """

    vectors: dict[str, tuple[ContentVector, ...]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    missing: set[str] = field(default_factory=set)


class ContentVectors:
    """Makes content vectors. Blocking; one thread at a time.

    Args:
        channels: the modalities that are encoded; none: no item gets a vector.
        cache: of vectors.
        batch_items: contents that are encoded at once.
    """

    def __init__(self, channels: Sequence[Channel], cache: VectorCache, batch_items: int) -> None:
        self.channels = tuple(channels)
        self._cache = cache
        self._batch_items = batch_items

    def of(self, items: Iterable[Item], told: Callable[[int], None] = lambda items: None) -> Computed:
        """The vectors of items; `told` hears how many are done, after each batch."""
        computed, done = Computed(), 0
        remaining = iter(items)
        while batch := tuple(islice(remaining, self._batch_items)):
            for channel in self.channels:
                self._encode(channel, batch, computed)
            done += len(batch)
            told(done)
        return computed

    def cached(self, items: Sequence[Item]) -> Computed:
        """What the cache has; no encoder is started."""
        computed = Computed()
        for channel in self.channels:
            known, unknown = self._looked_up(channel, items, computed)
            _add(computed, channel, known)
            computed.missing.update(item.item_id for item, _, _ in unknown)
        return computed

    def close(self) -> None:
        """Let go of the cache's file."""
        self._cache.close()

    def _encode(self, channel: Channel, items: Sequence[Item], computed: Computed) -> None:
        known, unknown = self._looked_up(channel, items, computed)
        _add(computed, channel, known)
        fresh = {name: content for _, name, content in unknown}
        if not fresh:
            return
        encoded = channel.encoder.encode(list(fresh.values()))
        # As the cache gives them back, so that it makes no difference which way a vector came.
        rounded = encoded.vectors.astype(np.float16).astype(np.float32)
        good = {name: rounded[place] for place, name in enumerate(fresh) if place not in encoded.problems}
        bad = {name: encoded.problems[place] for place, name in enumerate(fresh) if place in encoded.problems}
        self._cache.put(channel.encoder.encoder_id, good.items())
        _add(computed, channel, [(item, name, good[name]) for item, name, _ in unknown if name in good])
        for item, name, _ in unknown:
            if name in bad:
                computed.refusals.append(Refusal(item.item_id, channel.reader.reference(item), bad[name]))

    def _looked_up(
        self, channel: Channel, items: Sequence[Item], computed: Computed
    ) -> tuple[list[tuple[Item, str, Floats]], list[tuple[Item, str, bytes]]]:
        """The items with content of the modality: those that the cache knows, and the others."""
        read = []
        for item in items:
            if len(item.vectors) >= MOST_VECTORS or any(
                each.modality == channel.encoder.modality for each in item.vectors
            ):
                continue
            try:
                content = channel.reader.read(item)
            except ContentError as error:
                computed.refusals.append(Refusal(item.item_id, channel.reader.reference(item), str(error)))
                continue
            if content:
                read.append((item, content_hash(content), content))
        known = self._cache.get(channel.encoder.encoder_id, [name for _, name, _ in read]) if read else {}
        return (
            [(item, name, known[name]) for item, name, _ in read if name in known],
            [(item, name, content) for item, name, content in read if name not in known],
        )


def with_vectors(item: Item, vectors: Sequence[ContentVector]) -> tuple[ContentVector, ...]:
    """The item's own vectors and, of modalities that it lacks, the computed ones."""
    own = {vector.modality for vector in item.vectors}
    return (*item.vectors, *(vector for vector in vectors if vector.modality not in own))[:MOST_VECTORS]


def _add(computed: Computed, channel: Channel, found: Sequence[tuple[Item, str, Floats]]) -> None:
    for item, name, values in found:
        vector = ContentVector(channel.encoder.modality, channel.encoder.encoder_id, name, values)
        computed.vectors[item.item_id] = (*computed.vectors.get(item.item_id, ()), vector)
