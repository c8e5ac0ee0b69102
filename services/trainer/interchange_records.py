"""One record of `items.jsonl` or `users.jsonl` (or of their Parquet form) to an `Item` or a `User`, and back.

A scalar field that the domain does not know, such as `"price": 3.5`, is an attribute of that name.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from services.trainer.interchange_ids import id_problem
from shared.domain.items import ContentVector, Item, Scalar, User

CLIENT_ENCODER_ID = "client"
"""Encoder of a vector that was given as a bare list of numbers."""
_MAX_TIME_MS = 4_102_444_800_000
_TEXTS = frozenset({"title", "description", "creator_id", "image_uri", "audio_uri", "video_uri"})
_LISTS = frozenset({"categories", "tags", "interest_tags"})
_TIMES = frozenset({"available_from_ms", "available_until_ms", "created_ms"})
_ITEM_FIELDS = frozenset(field.name for field in fields(Item))
_USER_FIELDS = frozenset(field.name for field in fields(User))

Record = Mapping[str, Any]
"""A JSON object; every value is checked before it is used."""


def item_from_record(record: object) -> Item:
    """Check one record.

    Raises:
        ValueError: with the field, its value and what it should be.
    """
    known, extra = _divided(record, _ITEM_FIELDS)
    checked: dict[str, Any] = {name: _checked(name, value) for name, value in known.items()}
    return Item(
        **{**checked, "item_id": _id("item_id", known), "attributes": _attributes(known.get("attributes"), extra)}
    )


def user_from_record(record: object) -> User:
    """Check one record.

    Raises:
        ValueError: with the field, its value and what it should be.
    """
    known, extra = _divided(record, _USER_FIELDS)
    checked: dict[str, Any] = {name: _checked(name, value) for name, value in known.items()}
    return User(
        **{**checked, "user_id": _id("user_id", known), "attributes": _attributes(known.get("attributes"), extra)}
    )


def record_of(detail: Item | User) -> dict[str, Any]:
    """The JSON object that reads back as this item or user; fields at their default are left out."""
    record = {name: value for name, value in asdict(detail).items() if value not in ("", 0, (), {})}
    if "attributes" in record:
        record["attributes"] = {name: _json_scalar(value) for name, value in record["attributes"].items()}
    if isinstance(detail, Item) and detail.vectors:
        record["vectors"] = [{**asdict(vector), "values": vector.values.tolist()} for vector in detail.vectors]
    return record


def _divided(record: object, names: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    if not isinstance(record, Mapping):
        raise ValueError(f"the line holds {_shown(record)}, it must hold one JSON object")
    said = {name: value for name, value in record.items() if value is not None}
    known = {name: value for name, value in said.items() if name in names}
    return known, {name: value for name, value in said.items() if name not in names}


def _checked(name: str, value: object) -> object:
    if name in _TEXTS:
        return _text(name, value)
    if name in _LISTS:
        return _strings(name, value)
    if name in _TIMES:
        return _time(name, value)
    return _vectors(value) if name == "vectors" else value


def _id(name: str, known: Record) -> str:
    value = known.get(name, "")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_shown(value)}, it must be text")
    if problem := id_problem(value.encode("utf-8", "surrogatepass")):
        raise ValueError(f"{name} {problem}")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValueError(f"{name} is {_shown(value)}, it must be Unicode text")
    return value


def _strings(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name} is {_shown(value)}, it must be a list of text")
    return tuple(_text(f"an entry of {name}", entry) for entry in value)


def _time(name: str, value: object) -> int:
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer()
    if not whole or not 0 <= float(str(value)) < _MAX_TIME_MS:
        raise ValueError(f"{name} is {_shown(value)}, it must be whole Unix milliseconds between 1970 and 2099")
    return int(float(str(value)))


def _attributes(said: object, extra: Record) -> dict[str, Scalar]:
    if said is not None and not isinstance(said, (Mapping, list)):
        raise ValueError(f"attributes is {_shown(said)}, it must be an object of text, numbers and truth values")
    pairs = said.items() if isinstance(said, Mapping) else map(_stored_attribute, said or ())
    every = {**extra, **dict(pairs)}
    return {name: _scalar(name, value) for name, value in every.items() if value is not None}


def _stored_attribute(entry: object) -> tuple[str, object]:
    """An attribute as `interchange_writing` keeps it in Parquet: a name and one of three typed cells."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise ValueError(f"an attribute is {_shown(entry)}, it must have a name and a text, number or flag")
    cells = (entry.get(kind) for kind in ("text", "number", "flag"))
    return entry["name"], next((cell for cell in cells if cell is not None), None)


def _scalar(name: str, value: object) -> Scalar:
    if isinstance(value, (str, bool)):
        return value
    if isinstance(value, (int, float)) and math.isfinite(number := float(value)):
        return number
    raise ValueError(f"attribute {name} is {_shown(value)}, it must be text, a finite number or a truth value")


def _vectors(value: object) -> tuple[ContentVector, ...]:
    if isinstance(value, Mapping):
        return tuple(_bare_vector(str(modality), numbers) for modality, numbers in value.items() if numbers is not None)
    if not isinstance(value, list):
        raise ValueError(f"vectors is {_shown(value)}, it must map a modality to numbers, or be a list of vectors")
    return tuple(_full_vector(entry) for entry in value)


def _bare_vector(modality: str, numbers: object) -> ContentVector:
    values = _floats(modality, numbers)
    return ContentVector(modality, CLIENT_ENCODER_ID, hashlib.sha256(values.tobytes()).hexdigest()[:16], values)


def _full_vector(entry: object) -> ContentVector:
    names = ("modality", "encoder_id", "content_hash")
    if not isinstance(entry, Mapping) or not all(isinstance(entry.get(name), str) for name in names):
        raise ValueError(f"a vector is {_shown(entry)}, it must have {', '.join(names)} and values")
    modality, encoder_id, content_hash = (str(entry[name]) for name in names)
    return ContentVector(modality, encoder_id, content_hash, _floats(modality, entry.get("values")))


def _floats(modality: str, numbers: object) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    wrong = f"the {modality} vector is {_shown(numbers)}, it must be a list of finite numbers"
    try:
        values = np.asarray(numbers, dtype=np.float32).reshape(-1)
    except (TypeError, ValueError) as error:
        raise ValueError(wrong) from error
    if not isinstance(numbers, list) or not len(values) or not np.all(np.isfinite(values)):
        raise ValueError(wrong)
    return values


def _json_scalar(value: Scalar) -> Scalar:
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return int(value) if whole else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"
