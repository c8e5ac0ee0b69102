"""The retriever as it is served: company changes nothing, new items and empty histories have vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from shared.domain.history import History
from shared.domain.items import Item
from shared.model.bundle import ITEMS, Bundle, open_bundle, write_bundle, write_strings
from shared.model.encoding import save_scale
from shared.model.item_tower import save_table
from shared.model.retriever import RetrieverModel
from tests.unit.model import networks
from tests.unit.model.bundles import facts

MODEL = networks.retriever()


def test_several_users_at_once_get_the_vectors_they_get_alone() -> None:
    histories = [networks.history(seed, length) for seed, length in enumerate((0, 1, 30, 55, 3))]

    together = MODEL.user_vectors(histories)

    alone = np.vstack([MODEL.user_vectors([each]) for each in histories])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_nobody_asked_is_nobody_answered() -> None:
    assert MODEL.user_vectors([]).shape == (0, networks.SETTINGS.width)


def test_an_empty_history_has_a_vector() -> None:
    (vector,) = MODEL.user_vectors([History.empty()])

    assert np.isfinite(vector).all()


def test_each_event_changes_the_vector() -> None:
    history = networks.history(1, 10)

    before, after = MODEL.user_vectors([history.latest(9), history])

    assert not np.allclose(before, after, atol=1e-3)


def test_the_kind_of_event_matters() -> None:
    history = networks.history(1, 10)
    others = History(history.item_ids, history.event_types[::-1].copy(), history.values, history.times_ms)

    first, second = MODEL.user_vectors([history, others])

    assert not np.allclose(first, second, atol=1e-3)


def test_known_items_have_the_vectors_that_the_index_holds() -> None:
    items = [networks.film(row) for row in (3, 17)]

    assert np.allclose(MODEL.item_vectors(items), MODEL.catalogue_vectors()[[3, 17]], atol=1e-6)


def test_a_new_item_is_placed_by_its_content() -> None:
    alike, other = (Item("new", title=f"Story {number}", categories=(f"genre-{number}",)) for number in (1, 2))

    same, again, different = MODEL.item_vectors([alike, alike, other])

    assert np.array_equal(same, again)
    assert not np.allclose(same, different, atol=1e-3)


def test_a_history_of_new_items_says_something_when_their_content_is_given() -> None:
    history = History(("film-41",), np.array([2], np.int32), np.array([np.nan], np.float32), np.array([1]))

    without = MODEL.user_vectors([history])
    given = MODEL.user_vectors([history], {"film-41": networks.film(41)})

    assert not np.allclose(without, given, atol=1e-3)


def test_the_content_of_items_that_nobody_had_changes_nothing() -> None:
    histories = [networks.history(1, 5), networks.history(2, 8)]

    given = MODEL.user_vectors(histories, {"elsewhere": Item("elsewhere")})

    assert np.allclose(given, MODEL.user_vectors(histories), atol=1e-6)


def test_a_vector_of_another_encoder_is_passed_over() -> None:
    film = networks.film(41)
    foreign = Item(film.item_id, film.title, categories=film.categories, attributes=film.attributes, vectors=tuple(
        type(vector)(vector.modality, "encoder-2", "hash", vector.values) for vector in film.vectors
    ))  # fmt: skip
    bare = Item(film.item_id, film.title, categories=film.categories, attributes=film.attributes)

    own, other, none = MODEL.item_vectors([film, foreign, bare])

    assert np.array_equal(other, none)
    assert not np.allclose(own, none, atol=1e-3)


def test_a_retriever_out_of_a_bundle_answers_as_before(tmp_path: Path) -> None:
    histories = [networks.history(seed, 12) for seed in range(3)]

    loaded = RetrieverModel.load(_sealed(tmp_path))

    assert np.allclose(loaded.user_vectors(histories), MODEL.user_vectors(histories), atol=1e-3)  # vectors are float16


def _sealed(folder: Path) -> Bundle:
    write_strings(folder / ITEMS, networks.ITEMS)
    networks.ENCODING.save(folder)
    save_table(networks.TABLE, folder)
    save_scale(networks.SCALE, folder)
    MODEL.save(folder)
    write_bundle(folder, facts(retriever=networks.SETTINGS.model_dump()))
    return open_bundle(folder)
