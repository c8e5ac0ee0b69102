"""Hypothesis strategies for a request's bytes: valid messages with extreme fields, the same damaged, and noise.

Values are drawn from what breaks programs: ends of ranges, numbers that are none, strings at their limits, ids that
exist, and columns of different lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

KNOWN_ITEMS: Final = ("horror-0", "comedy-1", "western-2", "romance-3")
KNOWN_USERS: Final = ("ann", "bob")
DEEPEST: Final = 4
"""Messages inside messages; below that, fields stay unset."""
TEXTS: Final = (
    "", "0", "x", "x" * 128, "x" * 129, "é" * 64, "\0", "\ufeff\u202e", "../../../etc/passwd",
    "'; DROP TABLE users; --",
    "%s%n{0}", "w1-0.0", "w1-0.3", "w1-0.99999999999999999999", "w1-7.1", "popular", "retriever", "default", "discover",
    "Horror", "click", "a\nb", "\U0001f3ac" * 16, *KNOWN_ITEMS, *KNOWN_USERS,
)  # fmt: skip
WHOLE: Final = (0, 1, 2, 3, 5, 10, 12, 20, 200, 1001, -1, 2**31 - 1, -(2**31))
WIDE: Final = (*WHOLE, 2**63 - 1, -(2**63), 1_600_000_000, 1_600_000_000_000, 253_402_300_799, 253_402_300_800)
REAL: Final = (0.0, 1.0, -1.0, 0.5, 1e-45, 5e-324, 3.4e38, 1.7e308, -1.7e308, math.inf, -math.inf, math.nan)
LENGTHS: Final = (0, 1, 1, 1, 2, 3, 40)

seeds = st.integers(0, 2**64 - 1)
"""One draw a message: hypothesis choosing every field by itself takes ten times as long as the server's answer."""

_INT32 = {FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_SINT32, FieldDescriptor.TYPE_SFIXED32}
_UNSIGNED = {FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64, FieldDescriptor.TYPE_FIXED64}
_REAL = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE}
_TEXT = {FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}


def wild_bytes(kind: Descriptor, known: Sequence[Message]) -> st.SearchStrategy[bytes]:
    """The bytes of requests of one kind: wild, known ones with a few wild fields, both also damaged, and noise."""

    def whole(seed: int) -> bytes:
        random = Random(seed)
        message = _altered(random.choice(known), random) if known and random.random() < 0.6 else _wild(kind, random)
        return message.SerializeToString()

    messages = seeds.map(whole)
    return st.one_of(messages, messages, messages, st.tuples(messages, seeds).map(_damaged), st.binary())


@dataclass(frozen=True)
class _Taste:
    """Where the values of a message come from.

    Attributes:
        presence: how often a field is set.
        polite: scalars are of the kind that the contract's rules let through, and columns have one length.
    """

    random: Random
    presence: float
    polite: bool
    length: int

    def choose(self, values: Sequence[Any]) -> Any:
        """One of them."""
        return self.random.choice(values)


def _wild(kind: Descriptor, random: Random) -> Message:
    taste = _Taste(random, random.choice((0.2, 0.5, 0.9)), random.random() < 0.7, random.choice(LENGTHS))
    return _fill(GetMessageClass(kind)(), taste, 0)


def _altered(known: Message, random: Random) -> Message:
    """A copy with one to three of its fields, at any depth, set to something else or taken away."""
    message = type(known)()
    message.CopyFrom(known)
    for _ in range(random.randint(1, 3)):
        place = _somewhere(message, random)
        field = random.choice(place.DESCRIPTOR.fields)
        taste = _Taste(random, 0.5, random.random() < 0.5, random.choice(LENGTHS))
        if random.random() < 0.5:
            place.ClearField(field.name)
        if random.random() < 0.8:
            _set(place, field, taste, DEEPEST - 1)
    return message


def _somewhere(message: Message, random: Random) -> Message:
    inside = [value for field, value in message.ListFields() if field.message_type is not None]
    flat = [each for value in inside for each in ([value] if isinstance(value, Message) else value)]
    return _somewhere(random.choice(flat), random) if flat and random.random() < 0.7 else message


def _fill(message: Message, taste: _Taste, depth: int) -> Message:
    for field in message.DESCRIPTOR.fields:
        scalar = field.message_type is None
        if taste.random.random() < (1.0 if taste.polite and scalar else taste.presence):
            _set(message, field, taste, depth)
    return message


def _set(message: Message, field: FieldDescriptor, taste: _Taste, depth: int) -> None:
    if field.message_type is not None:
        _set_messages(message, field, taste, depth)
    elif field.is_repeated:
        length = taste.length if taste.polite else taste.choose(LENGTHS)
        getattr(message, field.name).extend([_scalar(field, taste) for _ in range(length)])
    else:
        setattr(message, field.name, _scalar(field, taste))


def _set_messages(message: Message, field: FieldDescriptor, taste: _Taste, depth: int) -> None:
    if depth == DEEPEST:
        return
    if field.is_repeated:
        for _ in range(taste.length if taste.polite else taste.choose(LENGTHS)):
            _fill(getattr(message, field.name).add(), taste, depth + 1)
    else:
        getattr(message, field.name).SetInParent()
        _fill(getattr(message, field.name), taste, depth + 1)


def _scalar(field: FieldDescriptor, taste: _Taste) -> Any:
    if field.enum_type is not None:
        return taste.choose([n for n in field.enum_type.values_by_number if n] if taste.polite else _enum(field))
    if field.type == FieldDescriptor.TYPE_BOOL:
        return taste.random.random() < 0.5
    if field.type in _TEXT:
        text = _text(field.name, taste)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if field.type in _REAL:
        return taste.choose([each for each in REAL if math.isfinite(each)] if taste.polite else REAL)
    return _whole(field, taste)


def _enum(field: FieldDescriptor) -> list[int]:
    return [*field.enum_type.values_by_number, 4711, -1]


def _whole(field: FieldDescriptor, taste: _Taste) -> int:
    values = WHOLE if field.type in _INT32 else WIDE
    value: int = taste.choose([each for each in values if each >= 0] if taste.polite else values)
    if field.type not in _UNSIGNED:
        return value
    return value % (2**32 if field.type == FieldDescriptor.TYPE_UINT32 else 2**64)


def _text(name: str, taste: _Taste) -> str:
    """Half of the ids are of something that exists, so that a request gets past the first look-up."""
    if taste.random.random() < 0.5:
        if "item_id" in name:
            return str(taste.choose(KNOWN_ITEMS))
        if name == "user_id":
            return str(taste.choose(KNOWN_USERS))
    if taste.polite and ("watermark" in name or "token" in name):
        return ""
    return str(taste.choose([text for text in TEXTS if 0 < len(text.encode()) <= 64] if taste.polite else TEXTS))


def _damaged(drawn: tuple[bytes, int]) -> bytes:
    """Bytes cut off, changed, doubled or put in: each of them once."""
    raw, random = bytearray(drawn[0] or b"\0"), Random(drawn[1])
    place = random.randrange(len(raw))
    match random.randrange(4):
        case 0:
            del raw[place:]
        case 1:
            raw[place] ^= 1 << random.randrange(8)
        case 2:
            raw[place:place] = raw[place : place + 20]
        case _:
            raw[place:place] = random.randbytes(random.randrange(1, 12))
    return bytes(raw)
