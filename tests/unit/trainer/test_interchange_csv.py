"""interactions.csv: every row is taken or refused with its line and reason."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from services.trainer.datasets import DatasetError
from services.trainer.interchange_csv import read_interactions_csv
from services.trainer.interchange_events import RawEvents
from services.trainer.interchange_reports import EXAMPLES_KEPT, ReadReport
from shared.domain.events import EventType

HEADER = b"user_id,item_id,event_type,value,timestamp\n"
GOOD = b"u1,i1,click,,100\n"


def read(folder: Path, content: bytes) -> tuple[RawEvents, ReadReport]:
    path = folder / "interactions.csv"
    path.write_bytes(content)
    return read_interactions_csv(path)


def test_good_rows_are_read_with_types_values_and_times(tmp_path: Path) -> None:
    events, report = read(tmp_path, HEADER + GOOD + b"u2,i1,rating,4.5,99.25\n")

    assert (report.taken, report.refused) == (2, 0)
    assert [events.user_names[code] for code in events.user_codes] == ["u1", "u2"]
    assert events.item_codes.tolist() == [0, 0]
    assert events.event_types.tolist() == [EventType.CLICK, EventType.RATING]
    assert np.isnan(events.values[0])
    assert events.values[1] == 4.5
    assert events.times_s.tolist() == [100, 99.25]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"u2,i2,klick,,1", "unknown event type 'klick'"),
        (b"u2,i2,rating,nan,1", "value 'nan' is not a finite number"),
        (b"u2,i2,rating,-inf,1", "value '-inf' is not a finite number"),
        (b"u2,i2,rating,1e39,1", "value '1e39' is not a finite number that fits 32 bits"),
        (b"u2,i2,rating,1_0,1", "value '1_0' is not"),
        (b"u2,i2,rating,five,1", "value 'five' is not"),
        (b"u2,i2,click,,", "timestamp '' is not a number of Unix seconds"),
        (b"u2,i2,click,,soon", "timestamp 'soon' is not a number"),
        (b"u2,i2,click,,-1", "timestamp '-1' is outside 1970 to 2099"),
        (b"u2,i2,click,,1318896000000", "it looks like milliseconds"),
        (b",i2,click,,1", "user_id is empty"),
        (b"u2,,click,,1", "item_id is empty"),
        (b"u2," + b"i" * 129 + b",click,,1", "item_id has 129 bytes, at most 128 are allowed"),
        (b"u\xff,i2,click,,1", "user_id is not valid UTF-8"),
        (b"u2,i2", "2 columns where the header has 5"),
        (b"u2,i2,click,,1,more", "6 columns where the header has 5"),
        (b'"u2,i2,click,,1', "the quotes of this line do not match"),
    ],
)
def test_a_bad_row_is_refused_by_line_and_reason_and_its_neighbours_are_taken(
    tmp_path: Path, row: bytes, reason: str
) -> None:
    events, report = read(tmp_path, HEADER + GOOD + row + b"\n" + GOOD)

    assert len(events) == report.taken == 2
    assert report.refused == 1
    assert report.examples[0].line == 3
    assert reason in report.examples[0].reason


def test_the_longest_allowed_id_is_taken(tmp_path: Path) -> None:
    events, _ = read(tmp_path, HEADER + b"u," + b"i" * 128 + b",click,,1\n")

    assert events.item_names == ["i" * 128]


def test_quoted_fields_may_hold_commas_and_quotes(tmp_path: Path) -> None:
    events, _ = read(tmp_path, HEADER + b'"a,b","say ""hi""",click,,1\n')

    assert (events.user_names, events.item_names) == (["a,b"], ['say "hi"'])


def test_line_numbers_stay_right_after_blank_lines_and_skipped_rows(tmp_path: Path) -> None:
    _, report = read(tmp_path, HEADER + b"\n" + GOOD + b"short\n\n" + b"u,i,bad,,1\n")

    assert [refusal.line for refusal in report.examples] == [4, 6]


def test_windows_line_ends_a_byte_order_mark_and_a_missing_last_line_end_do_no_harm(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + (HEADER + GOOD + GOOD).replace(b"\n", b"\r\n").rstrip()

    events, report = read(tmp_path, content)

    assert (len(events), report.refused) == (2, 0)
    assert events.user_names == ["u1"]


def test_columns_may_come_in_any_order_among_others(tmp_path: Path) -> None:
    events, _ = read(tmp_path, b"note,timestamp,item_id,value,user_id,event_type\nx,7,i,,u,view\n")

    assert (events.user_names, events.item_names, events.times_s.tolist()) == (["u"], ["i"], [7])


def test_ids_that_look_like_numbers_keep_their_zeros(tmp_path: Path) -> None:
    events, _ = read(tmp_path, HEADER + b"007,0001,view,,1\n7,1,view,,2\n")

    assert events.user_names == ["007", "7"]


def test_a_missing_column_is_one_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="lacks the column timestamp; its first line must be user_id,item_id"):
        read(tmp_path, b"user_id,item_id,event_type,value\nu,i,click,\n")


def test_an_empty_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="lacks the columns user_id"):
        read(tmp_path, b"")


def test_a_column_named_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="names a column twice"):
        read(tmp_path, HEADER.rstrip() + b",value\n")


def test_a_missing_file_is_one_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot open .*nowhere.csv"):
        read_interactions_csv(tmp_path / "nowhere.csv")


def test_a_truncated_archive_gives_its_whole_lines_and_says_where_it_breaks_off(tmp_path: Path) -> None:
    rows = b"".join(b"user%d,item%d,click,,%d\n" % (n * 7919 % 5003, n * 104729 % 9973, n) for n in range(200_000))
    path = tmp_path / "interactions.csv.gz"
    whole = gzip.compress(HEADER + rows)
    path.write_bytes(whole[: len(whole) // 2])

    events, report = read_interactions_csv(path)

    assert 1000 < len(events) < 200_000
    assert events.times_s.tolist() == list(range(len(events)))
    assert report.examples[-1].line == len(events) + 2
    assert "the file is damaged soon after this line" in report.examples[-1].reason


def test_thousands_of_bad_rows_are_counted_and_only_the_first_are_quoted(tmp_path: Path) -> None:
    _, report = read(tmp_path, HEADER + b"u,i,what,,1\n" * 5000 + GOOD)

    assert (report.taken, report.refused) == (1, 5000)
    assert [refusal.line for refusal in report.examples] == list(range(2, 2 + EXAMPLES_KEPT))
    assert "took 1, refused 5,000 (line 2: unknown event type 'what'" in report.summary()


def test_blocks_join_without_losing_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.trainer.interchange_text.BLOCK_BYTES", 64)
    monkeypatch.setattr("services.trainer.interchange_text._READ_BYTES", 16)
    rows = b"".join(b"u%d,i%d,click,,%d\n" % (n % 7, n % 5, n) for n in range(500))

    events, report = read(tmp_path, HEADER + rows + b"u,i,bad,,1\n")

    assert events.times_s.tolist() == list(range(500))
    assert [events.user_names[code] for code in events.user_codes[:9]] == [f"u{n % 7}" for n in range(9)]
    assert report.examples[0].line == 502


def test_a_line_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.trainer.interchange_text.BLOCK_BYTES", 1 << 10)
    monkeypatch.setattr("services.trainer.interchange_text.MAX_LINE_BYTES", 1 << 12)

    with pytest.raises(DatasetError, match=r"line 2 of .* is longer than 4,096 bytes"):
        read(tmp_path, HEADER + b"x" * 600_000)
