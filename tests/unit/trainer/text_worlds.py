"""A world in which one word of many tells what an item is, and people keep to one kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.trainer.datasets import Dataset
from shared.domain.items import Item
from tests.unit.trainer.data_worlds import dataset_of

KINDS, WORDS_OF_A_KIND, NOISE = 4, 3, 12
TELLING = tuple(f"kind{kind}word{number}" for kind in range(KINDS) for number in range(WORDS_OF_A_KIND))
WORDS = (*TELLING, *(f"noise{number}" for number in range(NOISE)))


@dataclass(frozen=True, slots=True)
class TextWorld:
    """The data, and the kind of each item by row; `unseen` rows are in nobody's history."""

    dataset: Dataset
    kinds: np.ndarray
    unseen: np.ndarray


def text_world(items: int = 160, users: int = 120, events: int = 8) -> TextWorld:
    """A tenth of the items is new."""
    rng = np.random.default_rng(5)
    kinds = np.arange(items) % KINDS
    titles = [_title(int(kind), rng) for kind in kinds]
    seen = items - items // 10
    rows = []
    for user in range(users):
        own = np.flatnonzero(kinds[:seen] == user % KINDS)
        rows += [
            (f"u{user}", f"i{item}", 100.0 * user + place)
            for place, item in enumerate(rng.choice(own, events, replace=False))
        ]
    dataset = dataset_of(rows, [Item(f"i{row}", title=title) for row, title in enumerate(titles)])
    of_item = np.array([int(name[1:]) for name in dataset.items.ids])
    return TextWorld(dataset, kinds[of_item], np.flatnonzero(of_item >= seen))


def _title(kind: int, rng: np.random.Generator) -> str:
    word = TELLING[kind * WORDS_OF_A_KIND + int(rng.integers(WORDS_OF_A_KIND))]
    words = [word, *(f"noise{number}" for number in rng.choice(NOISE, 5, replace=False))]
    return " ".join(words[place] for place in rng.permutation(len(words)))
