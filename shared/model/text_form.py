"""Text of items and users in one form: Unicode NFC, single spaces, no control characters, no empty or repeated labels.

Language, case and punctuation stay as they are: they carry meaning for the encoders. Training and serving read items in
this form, so that a stray space makes no new category.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shared.domain.items import Item, Scalar, User


def normalised_text(text: str) -> str:
    """The same words in one form."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    composed = unicodedata.normalize("NFC", text)
    visible = (letter if unicodedata.category(letter) not in {"Cc", "Cs"} else " " for letter in composed)
    return " ".join("".join(visible).split())


def normalised_item(item: Item) -> Item:
    """The item with normalised text; the very same object where nothing changes."""
    changed = {
        "title": normalised_text(item.title),
        "description": normalised_text(item.description),
        "categories": _labels(item.categories),
        "tags": _labels(item.tags),
        "attributes": _attributes(item.attributes),
    }
    same = all(getattr(item, name) == value for name, value in changed.items())
    return item if same else replace(item, **changed)  # type: ignore[arg-type]  # each value has its field's type


def normalised_user(user: User) -> User:
    """The user with normalised text; the very same object where nothing changes."""
    tags, attributes = _labels(user.interest_tags), _attributes(user.attributes)
    same = tags == user.interest_tags and attributes == user.attributes
    return user if same else replace(user, interest_tags=tags, attributes=attributes)


def _labels(labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for label in map(normalised_text, labels) if label))


def _attributes(attributes: Mapping[str, Scalar]) -> dict[str, Scalar]:
    clean = {name: normalised_text(value) if isinstance(value, str) else value for name, value in attributes.items()}
    return {name: value for name, value in clean.items() if value != ""}
