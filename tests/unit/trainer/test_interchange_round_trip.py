"""What is written reads back as the same data set, in every form."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.trainer.datasets import Dataset
from services.trainer.datasets_assembly import assemble
from services.trainer.interchange import InterchangeFiles, read_files
from services.trainer.interchange_events import RawEvents
from services.trainer.interchange_writing import Form, write_folder
from shared.domain.events import EventType
from shared.domain.items import ContentVector, Item, User
from tests.unit.trainer.data_worlds import dataset_of

FORMS: tuple[Form, ...] = get_args(Form)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=12)
floats32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
scalars = st.one_of(texts, st.booleans(), st.floats(allow_nan=False, allow_infinity=False))
attributes = st.dictionaries(texts, scalars, max_size=3)
times_ms = st.integers(0, 4_000_000_000_000)
vectors = st.builds(
    ContentVector, modality=texts, encoder_id=texts, content_hash=texts,
    values=st.lists(floats32, min_size=1, max_size=3).map(lambda numbers: np.array(numbers, dtype=np.float32)),
)  # fmt: skip
labels = st.lists(texts, max_size=3).map(tuple)
items = st.builds(
    Item, item_id=ids, title=texts, description=texts, creator_id=texts, categories=labels, tags=labels,
    attributes=attributes, vectors=st.lists(vectors, max_size=2).map(tuple), image_uri=texts,
    available_from_ms=times_ms, created_ms=times_ms,
)  # fmt: skip
users = st.builds(User, user_id=ids, interest_tags=labels, attributes=attributes)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    user_names = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    item_names = draw(st.lists(ids, min_size=1, max_size=4, unique=True))
    count = draw(st.integers(1, 12))

    def column(strategy: st.SearchStrategy[Any], dtype: type) -> np.ndarray[Any, Any]:
        return np.array(draw(st.lists(strategy, min_size=count, max_size=count)), dtype=dtype)

    events = RawEvents(
        user_names=user_names,
        item_names=item_names,
        user_codes=column(st.integers(0, len(user_names) - 1), np.int32),
        item_codes=column(st.integers(0, len(item_names) - 1), np.int32),
        event_types=column(st.integers(1, len(EventType) - 1), np.int8),
        values=column(st.one_of(st.just(float("nan")), floats32), np.float32),
        times_s=column(st.one_of(st.integers(0, 5).map(float), st.floats(0, 4e9)), np.float64),
    )
    catalogue = draw(st.lists(items, max_size=3, unique_by=lambda item: item.item_id))
    return assemble(events, catalogue, draw(st.lists(users, max_size=3, unique_by=lambda user: user.user_id)), "any")


def without_vectors(details: tuple[Item, ...]) -> tuple[Item, ...]:
    return tuple(replace(item, vectors=()) for item in details)


def flat_vectors(details: tuple[Item, ...]) -> list[tuple[str, str, str, list[float]]]:
    return [
        (vector.modality, vector.encoder_id, vector.content_hash, vector.values.tolist())
        for item in details
        for vector in item.vectors
    ]


@pytest.mark.parametrize("form", FORMS)
@given(data=datasets())
@settings(max_examples=60, deadline=None)
def test_export_and_import_give_the_same_data_set(form: Form, data: Dataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = InterchangeFiles(*write_folder(data, Path(folder), form))
        again, reports = read_files(files, data.name)

    assert [report.refused for report in reports] == [0, 0, 0]
    assert (again.users.ids, again.items.ids) == (data.users.ids, data.items.ids)
    for column in ("user_rows", "item_rows", "event_types", "values", "times_s"):
        np.testing.assert_array_equal(getattr(again.interactions, column), getattr(data.interactions, column))
    assert without_vectors(again.item_details) == without_vectors(data.item_details)
    assert flat_vectors(again.item_details) == flat_vectors(data.item_details)
    assert again.user_details == data.user_details


def test_the_same_data_give_the_same_bytes(tmp_path: Path) -> None:
    data = dataset_of([("u", "i", 1.0), ("u", "j", 2.5)])

    first = [path.read_bytes() for path in write_folder(data, tmp_path / "a", "text-gz")]
    second = [path.read_bytes() for path in write_folder(data, tmp_path / "b", "text-gz")]

    assert first == second
    assert not list(tmp_path.rglob("*.partial"))
