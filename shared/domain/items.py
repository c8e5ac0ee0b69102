"""What can be recommended, and to whom: the catalogue's nouns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Scalar = str | float | bool
"""The value of an attribute: text, a number or a truth value."""


@dataclass(frozen=True, slots=True)
class ContentVector:
    """The vector of one modality of an item, from a frozen encoder.

    Attributes:
        modality: `text`, `image`, `audio`, `video` or the client's own name.
        encoder_id: the encoder (and version) that made it; vectors of different encoders are never compared.
        content_hash: hash of what was encoded; the same content keeps its vector.
        values: (D,) float32, finite.
    """

    modality: str
    encoder_id: str
    content_hash: str
    values: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of the catalogue. Only `item_id` is required; every other field helps the models when it is there.

    Times are Unix milliseconds; 0 means not set (always available, age unknown).
    """

    item_id: str
    title: str = ""
    description: str = ""
    creator_id: str = ""
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    attributes: dict[str, Scalar] = field(default_factory=dict)
    vectors: tuple[ContentVector, ...] = ()
    image_uri: str = ""
    audio_uri: str = ""
    video_uri: str = ""
    available_from_ms: int = 0
    available_until_ms: int = 0
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class User:
    """What a client tells about a user: interests and attributes, which carry users without history."""

    user_id: str
    interest_tags: tuple[str, ...] = ()
    attributes: dict[str, Scalar] = field(default_factory=dict)
