"""A frozen encoder for tests: a vector out of the content's letters, and a book of what it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from shared.model.content import Encoded, unit


@dataclass
class LetterEncoder:
    """Counts the letters a to h; contents with an `!` cannot be encoded."""

    modality: str = "text"
    encoder_id: str = "letters-1"
    size: int = 8
    asked: list[list[bytes]] = field(default_factory=list)

    def encode(self, contents: Sequence[bytes]) -> Encoded:
        """One number a letter."""
        self.asked.append(list(contents))
        counts = np.array([[content.count(letter) for letter in b"abcdefgh"] for content in contents], np.float32)
        problems = {place: "it shouts" for place, content in enumerate(contents) if b"!" in content}
        return Encoded(unit(counts), problems)
