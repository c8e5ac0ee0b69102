"""Frozen content encoders (port): what they read of an item, and what every adapter of one can do.

A frozen encoder turns the content of one modality (a text, an image) into a vector that no training here changes. So
its vectors may cross services and outlive models, tagged with the encoder that made them and a hash of what it read.

n contents, D numbers a vector.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from shared.domain.items import Item
from shared.model.text_form import normalised_text

TEXT, IMAGE = "text", "image"
TUNED = "+"
"""Stands in an encoder's id between the frozen encoder and the hash of its tuned layers."""
TEXT_LIMIT = 2_000
"""Characters of a text that are read: more than any of the encoders here looks at."""

Floats = npt.NDArray[np.float32]


class ContentError(ValueError):
    """A content that cannot be read or encoded; the message says which reference and why."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder made of n contents.

    Attributes:
        vectors: (n, D) float32 unit vectors, zero where there is a problem.
        problems: by place, why a content could not be encoded.
    """

    vectors: Floats
    problems: Mapping[int, str] = field(default_factory=dict)


class FrozenEncoder(Protocol):
    """Makes vectors of one modality. Weights are read when they are first needed."""

    @property
    def modality(self) -> str:
        """`text` or `image`."""

    @property
    def encoder_id(self) -> str:
        """Name and version; vectors of different ids are never compared. At most 128 bytes."""

    @property
    def size(self) -> int:
        """D, known without reading the weights."""

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        """Encode n contents: UTF-8 text, or the bytes of an image file. Blocking; from any thread."""


class ContentReader(Protocol):
    """Finds the content of one modality of an item."""

    def reference(self, item: Item) -> str:
        """What to name when the content is refused: an image's reference; "" for what stands in the item itself."""

    def read(self, item: Item) -> bytes:
        """The content; empty when the item has none.

        Raises:
            ContentError: it has a reference that may not or cannot be read.
        """


class TextReader:
    """Title and description."""

    def reference(self, item: Item) -> str:
        """Nothing: the text stands in the item."""
        del item
        return ""

    def read(self, item: Item) -> bytes:
        """Both in one text, cut at `TEXT_LIMIT`."""
        parts = (normalised_text(part[:TEXT_LIMIT]) for part in (item.title, item.description))
        return ". ".join(part for part in parts if part)[:TEXT_LIMIT].encode()


def frozen_id(encoder_id: str) -> str:
    """The encoder as it came, of one whose last layers were tuned, see `content_tuned.py`."""
    return encoder_id.partition(TUNED)[0]


def content_hash(content: bytes) -> str:
    """What the content is known by: 32 hexadecimal digits of its sha256."""
    return hashlib.sha256(content).hexdigest()[:32]


def unit(vectors: Floats) -> Floats:
    """(n, D) the same directions with length 1; what has no direction stays zero."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return scaled
