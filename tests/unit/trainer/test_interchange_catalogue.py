"""items.jsonl and users.jsonl: every record is taken or refused with its line and reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from services.trainer.datasets import DatasetError
from services.trainer.interchange_catalogue import read_items, read_users
from services.trainer.interchange_reports import ReadReport
from shared.domain.items import Item


def read(folder: Path, *lines: str) -> tuple[tuple[Item, ...], ReadReport]:
    path = folder / "items.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return read_items(path)


def test_every_field_of_an_item_is_read(tmp_path: Path) -> None:
    record = {
        "item_id": "heat", "title": "Heat", "description": "a heist", "creator_id": "mann", "categories": ["Crime"],
        "tags": ["la"], "attributes": {"year": 1995, "colour": True, "country": "US"}, "image_uri": "s3://heat.jpg",
        "available_from_ms": 1, "available_until_ms": 2, "created_ms": 3,
        "vectors": [{"modality": "image", "encoder_id": "e1", "content_hash": "h", "values": [0.5, -1]}],
    }  # fmt: skip

    (item,), report = read(tmp_path, json.dumps(record))

    assert (report.taken, report.refused) == (1, 0)
    assert (item.title, item.creator_id, item.categories, item.tags) == ("Heat", "mann", ("Crime",), ("la",))
    assert item.attributes == {"year": 1995.0, "colour": True, "country": "US"}
    assert (item.available_from_ms, item.available_until_ms, item.created_ms) == (1, 2, 3)
    assert (item.vectors[0].modality, item.vectors[0].encoder_id) == ("image", "e1")
    np.testing.assert_array_equal(item.vectors[0].values, np.array([0.5, -1], np.float32))


def test_an_unknown_scalar_field_becomes_an_attribute_and_null_is_nothing(tmp_path: Path) -> None:
    (item,), _ = read(tmp_path, '{"item_id": 7, "price": 3.5, "title": null, "attributes": {"size": null}}')

    assert item == Item("7", attributes={"price": 3.5})


def test_vectors_may_be_given_as_bare_numbers_by_modality(tmp_path: Path) -> None:
    (item,), _ = read(tmp_path, '{"item_id": "a", "vectors": {"audio": [1, 2]}}')

    assert item.vectors[0].modality == "audio"
    assert item.vectors[0].values.tolist() == [1, 2]
    assert item.vectors[0].content_hash


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "the line is not JSON"),
        ("[1]", "must hold one JSON object"),
        ('{"title": "no id"}', "item_id is empty"),
        ('{"item_id": ""}', "item_id is empty"),
        ('{"item_id": true}', "item_id is True, it must be text"),
        ('{"item_id": "%s"}' % ("x" * 129), "item_id has 129 bytes"),
        ('{"item_id": "a\\nb"}', "item_id holds a line break"),
        ('{"item_id": "\\ud800"}', "item_id is not valid UTF-8"),
        ('{"item_id": "a", "title": 5}', "title is 5, it must be Unicode text"),
        ('{"item_id": "a", "title": "\\udc00"}', "it must be Unicode text"),
        ('{"item_id": "a", "categories": "Drama"}', "categories is 'Drama', it must be a list of text"),
        ('{"item_id": "a", "tags": [1]}', "an entry of tags is 1"),
        ('{"item_id": "a", "attributes": [1]}', "an attribute is 1"),
        ('{"item_id": "a", "attributes": 3}', "attributes is 3, it must be an object"),
        ('{"item_id": "a", "attributes": {"x": NaN}}', "attribute x is nan, it must be text, a finite number"),
        ('{"item_id": "a", "attributes": {"x": 1%s}}' % ("0" * 400), "int too large"),
        ('{"item_id": "a", "nested": {"x": 1}}', "attribute nested is {'x': 1}"),
        ('{"item_id": "a", "created_ms": 1.5}', "created_ms is 1.5, it must be whole Unix milliseconds"),
        ('{"item_id": "a", "created_ms": -1}', "created_ms is -1"),
        ('{"item_id": "a", "vectors": {"image": [1, "x"]}}', "the image vector is [1, 'x']"),
        ('{"item_id": "a", "vectors": {"image": []}}', "the image vector is []"),
        ('{"item_id": "a", "vectors": {"image": [Infinity]}}', "must be a list of finite numbers"),
        ('{"item_id": "a", "vectors": [{"values": [1]}]}', "it must have modality, encoder_id, content_hash"),
    ],
)
def test_a_bad_record_is_refused_by_line_and_reason_and_its_neighbours_are_taken(
    tmp_path: Path, line: str, reason: str
) -> None:
    items, report = read(tmp_path, '{"item_id": "before"}', line, '{"item_id": "after"}')

    assert [item.item_id for item in items] == ["before", "after"]
    assert report.refused == 1
    assert report.examples[0].line == 2
    assert reason in report.examples[0].reason


def test_of_an_item_that_comes_twice_the_later_record_counts_and_the_earlier_is_reported(tmp_path: Path) -> None:
    items, report = read(tmp_path, '{"item_id": "a", "title": "old"}', "", '{"item_id": "a", "title": "new"}')

    assert [item.title for item in items] == ["new"]
    assert report.examples[0].line == 1
    assert "comes again in line 3" in report.examples[0].reason


def test_users_are_read_with_tags_and_attributes(tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    path.write_text('{"user_id": "u", "interest_tags": ["jazz"], "age": 30}\n{"user_id": 5}\nnull\n')

    users, report = read_users(path)

    assert [(user.user_id, user.interest_tags, user.attributes) for user in users] == [
        ("u", ("jazz",), {"age": 30.0}),
        ("5", (), {}),
    ]
    assert report.refused == 1


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot open"):
        read_items(tmp_path / "items.jsonl")
