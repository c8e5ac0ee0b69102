"""The words of the catalogue: what an item can be found by when somebody types, and how much each word tells.

A word counts by field (title over tags over categories) and by rarity (IDF = ln(1 + N / n)); a short title counts
more per word than a long one, as in BM25's length normalisation.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from services.candidate_generation.postings import PostingIndex
from shared.domain.items import Item

_WORD = re.compile(r"\w+")
_TAG_WEIGHT = 0.8
_CATEGORY_WEIGHT = 0.5
_MOST_QUERY_WORDS = 64


def words(text: str) -> list[str]:
    """The words of a text without case and accents: `Amélie (2001)` gives `amelie`, `2001`."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return _WORD.findall(text.casefold())


def item_words(item: Item) -> dict[str, float]:
    """Each word of an item with the weight of its best field."""
    weights: dict[str, float] = {}
    for category in item.categories:
        weights.update(dict.fromkeys(words(category), _CATEGORY_WEIGHT))
    for tag in item.tags:
        weights.update(dict.fromkeys(words(tag), _TAG_WEIGHT))
    title = words(item.title)
    weights.update(dict.fromkeys(title, 1 + 1 / max(1, len(title))))
    return weights


def item_labels(item: Item) -> dict[str, float]:
    """Categories and tags as whole phrases: what interests are told in, and what likeness goes by."""
    return dict.fromkeys((label.casefold() for label in (*item.categories, *item.tags)), 1.0)


def weighted_sum(index: PostingIndex, keys: Iterable[str], size: int, items: int) -> npt.NDArray[np.float32]:
    """(S,) the sum over the keys of IDF · weight, 0 where an item has none of them.

    Args:
        index: the keys' postings.
        keys: to look for; repeats count once.
        size: S.
        items: N of the IDF: how many items there are.
    """
    scores = np.zeros(size, np.float32)
    for key in list(dict.fromkeys(keys))[:_MOST_QUERY_WORDS]:
        postings = index.get(key)
        if len(postings):
            scores[postings.slots] += np.float32(np.log1p(items / len(postings))) * postings.weights
    return scores
