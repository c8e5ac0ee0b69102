"""Words of the catalogue and what they weigh."""

from __future__ import annotations

import pytest

from services.candidate_generation.lexicon import item_labels, item_words, weighted_sum, words
from services.candidate_generation.postings import PostingIndex
from shared.domain.items import Item


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Amélie (2001)", ["amelie", "2001"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("東京 物語", ["東京", "物語"]),
        ("  ", []),
        ("a_b-c", ["a_b", "c"]),
    ],
)
def test_words_have_no_case_and_no_accents(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_a_word_weighs_most_in_a_short_title_and_least_in_a_category() -> None:
    short, long = item_words(Item("a", title="Fox")), item_words(Item("b", title="The fox and the hound"))
    tag, category = item_words(Item("c", tags=("fox",))), item_words(Item("d", categories=("fox",)))

    assert short["fox"] > long["fox"] > tag["fox"] > category["fox"]


def test_labels_are_whole_phrases_without_case() -> None:
    assert set(item_labels(Item("a", categories=("Sci-Fi",), tags=("Space Opera",)))) == {"sci-fi", "space opera"}


def test_a_rare_key_counts_more_than_a_common_one_and_repeats_count_once() -> None:
    index = PostingIndex()
    for slot in range(10):
        index.change(slot, {}, {"common": 1.0} if slot else {"common": 1.0, "rare": 1.0})

    scores = weighted_sum(index, ["common", "rare", "rare", "unknown"], size=11, items=11)

    assert scores[0] > scores[1] > 0
    assert scores[10] == 0
    assert scores[0] == pytest.approx(weighted_sum(index, ["rare", "common"], size=11, items=11)[0])
