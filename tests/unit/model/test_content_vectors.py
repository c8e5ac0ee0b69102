"""Content vectors: computed once, cached by content, the caller's own first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.domain.items import ContentVector, Item
from shared.model.content import ContentError, TextReader
from shared.model.content_cache import VectorCache
from shared.model.content_vectors import Channel, ContentVectors, with_vectors
from tests.unit.model.encoders import LetterEncoder

LIMIT = 1 << 30


class BrokenReader:
    """Finds nothing but trouble."""

    def reference(self, item: Item) -> str:
        return item.image_uri

    def read(self, item: Item) -> bytes:
        raise ContentError(f"{item.image_uri} is not there")


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[VectorCache]:
    opened = VectorCache(tmp_path / "content.db", LIMIT)
    yield opened
    opened.close()


def reading(encoder: LetterEncoder, cache: VectorCache, batch_items: int = 2) -> ContentVectors:
    return ContentVectors([Channel(TextReader(), encoder)], cache, batch_items)


def test_title_and_description_become_a_vector(cache: VectorCache) -> None:
    encoder = LetterEncoder()

    computed = reading(encoder, cache).of([Item("1", title="aa", description="b")])

    (vector,) = computed.vectors["1"]
    assert encoder.asked == [[b"aa. b"]]
    assert (vector.modality, vector.encoder_id) == ("text", "letters-1")
    np.testing.assert_allclose(vector.values[:2], np.array([2, 1]) / 5**0.5, atol=1e-3)


def test_contents_are_encoded_in_batches_each_content_once_and_progress_is_told(cache: VectorCache) -> None:
    encoder, told = LetterEncoder(), []
    items = [Item("1", title="a"), Item("2", title="a"), Item("3", title="b")]

    computed = reading(encoder, cache).of(items, told.append)

    assert encoder.asked == [[b"a"], [b"b"]]
    assert computed.vectors.keys() == {"1", "2", "3"}
    assert told == [2, 3]


def test_what_was_encoded_before_comes_out_of_the_cache_with_the_same_numbers(cache: VectorCache) -> None:
    first, second = LetterEncoder(), LetterEncoder()
    item = Item("1", title="abc")

    fresh = reading(first, cache).of([item]).vectors["1"][0]
    cached = reading(second, cache).of([item]).vectors["1"][0]

    assert second.asked == []
    np.testing.assert_array_equal(fresh.values, cached.values)


def test_another_encoder_does_not_get_the_first_ones_vectors(cache: VectorCache) -> None:
    other = LetterEncoder(encoder_id="letters-2")
    reading(LetterEncoder(), cache).of([Item("1", title="abc")])

    reading(other, cache).of([Item("1", title="abc")])

    assert other.asked == [[b"abc"]]


def test_a_modality_that_the_caller_sent_is_not_computed(cache: VectorCache) -> None:
    encoder = LetterEncoder()
    own = ContentVector("text", "theirs", "", np.ones(3, np.float32))

    computed = reading(encoder, cache).of([Item("1", title="abc", vectors=(own,))])

    assert computed.vectors == {}
    assert encoder.asked == []


def test_the_callers_vector_stands_before_a_computed_one() -> None:
    own = ContentVector("text", "theirs", "", np.ones(3, np.float32))
    text = ContentVector("text", "ours", "", np.ones(3, np.float32))
    image = ContentVector("image", "ours", "", np.ones(3, np.float32))

    assert with_vectors(Item("1", vectors=(own,)), [text, image]) == (own, image)


def test_an_item_without_text_has_no_vector_and_is_no_problem(cache: VectorCache) -> None:
    computed = reading(LetterEncoder(), cache).of([Item("1", categories=("toys",)), Item("2", title="  ")])

    assert computed.vectors == {}
    assert computed.refusals == []


def test_a_content_that_cannot_be_encoded_is_named_and_the_others_are_encoded(cache: VectorCache) -> None:
    computed = reading(LetterEncoder(), cache).of([Item("1", title="a!"), Item("2", title="a")])

    assert [(refusal.item_id, refusal.reason) for refusal in computed.refusals] == [("1", "it shouts")]
    assert computed.vectors.keys() == {"2"}


def test_a_reference_that_cannot_be_read_is_named_with_its_item(cache: VectorCache) -> None:
    images = ContentVectors([Channel(BrokenReader(), LetterEncoder("image"))], cache, 8)

    (refusal,) = images.of([Item("lamp", image_uri="lamp.png")]).refusals

    assert (refusal.item_id, refusal.reference, refusal.reason) == ("lamp", "lamp.png", "lamp.png is not there")


def test_asked_for_cached_vectors_only_nothing_is_encoded_and_the_rest_is_named(cache: VectorCache) -> None:
    encoder = LetterEncoder()
    vectors = reading(encoder, cache)
    vectors.of([Item("1", title="a")])

    computed = vectors.cached([Item("1", title="a"), Item("2", title="b"), Item("3")])

    assert computed.vectors.keys() == {"1"}
    assert computed.missing == {"2"}
    assert encoder.asked == [[b"a"]]


def test_a_full_cache_drops_what_was_not_used_for_longest(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "content.db", 200_000)
    values = np.ones(500, np.float32)

    for number in range(1_000):
        cache.put("letters-1", [(f"{number:04}", values)])

    kept = cache.get("letters-1", [f"{number:04}" for number in range(1_000)])
    cache.close()
    assert "0999" in kept
    assert "0000" not in kept
    assert len(kept) < 200


def test_a_damaged_cache_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "content.db"
    path.write_bytes(b"this is no database, whatever it may be called; " * 100)
    cache = VectorCache(path, LIMIT)

    assert cache.get("letters-1", ["x"]) == {}
    cache.put("letters-1", [("x", np.ones(2, np.float32))])

    assert list(cache.get("letters-1", ["x"])) == ["x"]
    cache.close()


def test_where_no_file_can_be_written_vectors_are_computed_each_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    encoder = LetterEncoder()
    vectors = reading(encoder, VectorCache(tmp_path / "file" / "content.db", LIMIT))

    for _ in range(2):
        assert vectors.of([Item("1", title="a")]).vectors.keys() == {"1"}

    assert len(encoder.asked) == 2
