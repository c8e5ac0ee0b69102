"""Folders and files of interchange, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.datasets import DatasetError
from services.trainer.datasets_opening import DataSource, open_dataset

EVENTS = "user_id,item_id,event_type,value,timestamp\nu,i,view,,1\n"


def test_a_folder_is_read_with_the_items_and_users_beside_it(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(EVENTS)
    (tmp_path / "items.jsonl").write_text('{"item_id": "i", "title": "known"}\n{"item_id": "new"}\n')
    (tmp_path / "users.jsonl").write_text('{"user_id": "u", "age": 3}\n')

    opened = open_dataset(DataSource(str(tmp_path)))

    assert len(opened.reports) == 3
    assert opened.dataset.name == tmp_path.name
    assert [item.title for item in opened.dataset.item_details] == ["known", ""]
    assert opened.dataset.user_details[0].attributes == {"age": 3.0}


def test_files_are_read_as_named(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text(EVENTS)
    (tmp_path / "things.jsonl").write_text('{"item_id": "i", "title": "known"}\n')

    opened = open_dataset(DataSource(str(tmp_path / "clicks.csv"), items=tmp_path / "things.jsonl"))

    assert opened.dataset.name == "clicks"
    assert opened.dataset.item_details[0].title == "known"


def test_a_named_items_file_replaces_the_one_in_the_folder(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(EVENTS)
    (tmp_path / "items.jsonl").write_text('{"item_id": "i", "title": "beside"}\n')
    (tmp_path / "mine.jsonl").write_text('{"item_id": "i", "title": "named"}\n')

    opened = open_dataset(DataSource(str(tmp_path), items=tmp_path / "mine.jsonl"))

    assert opened.dataset.item_details[0].title == "named"


def test_a_folder_without_interactions_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds none of interactions\.csv, interactions\.csv\.gz"):
        open_dataset(DataSource(str(tmp_path)))


def test_two_forms_of_one_file_are_not_chosen_between(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(EVENTS)
    (tmp_path / "interactions.parquet").write_bytes(b"")

    with pytest.raises(DatasetError, match=r"interactions\.csv and interactions\.parquet: keep one of them"):
        open_dataset(DataSource(str(tmp_path)))


def test_a_file_of_unknown_form_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "interactions.xlsx"
    path.write_text(EVENTS)

    with pytest.raises(DatasetError, match="is of no known form"):
        open_dataset(DataSource(str(path)))


def test_a_file_whose_rows_are_all_bad_is_one_error_with_the_first_reason(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(EVENTS.replace("view", "gaze"))

    with pytest.raises(DatasetError, match=r"no row can be used: .*refused 1 \(line 2: unknown event type 'gaze'"):
        open_dataset(DataSource(str(tmp_path)))


def test_an_item_file_that_is_missing_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "interactions.csv").write_text(EVENTS)

    with pytest.raises(DatasetError, match=r"cannot open .*nowhere\.jsonl"):
        open_dataset(DataSource(str(tmp_path), items=tmp_path / "nowhere.jsonl"))
