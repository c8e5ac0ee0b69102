"""MovieLens in its three editions."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.datasets_opening import DataSource, open_dataset
from services.trainer.interchange_reports import ReadReport
from services.trainer.movielens import ML_1M, ML_100K, RECBOLE_100K, layout_of, read_movielens, read_ratings
from shared.domain.events import EventType


def flags(*positions: int) -> str:
    return "|".join("1" if place in positions else "0" for place in range(19))


def ml_100k(folder: Path) -> Path:
    (folder / "u.data").write_text("1\t12\t5\t20\n2\t543\t3\t10\n1\t267\t1\t20\n")
    films = (
        f"12|Usual Suspects, The (1995)|14-Aug-1995||http://x|{flags(6, 16)}\n"
        f"543|Mis\u00e9rables, Les (1995)|01-Jan-1995||http://x|{flags(8)}\n"
        f"267|unknown||||{flags(0)}\n"
    )
    (folder / "u.item").write_bytes(films.encode("latin-1"))
    (folder / "u.user").write_text("1|24|M|technician|85711\n2|53|F|other|94043\n")
    return folder


def ml_1m(folder: Path) -> Path:
    (folder / "ratings.dat").write_text("1::12::5::20\n2::543::3::10\n1::267::1::20\n")
    films = (
        "12::Usual Suspects, The (1995)::Crime|Thriller\n"
        "543::Mis\u00e9rables, Les (1995)::Drama\n"
        "267::unknown::unknown\n"
    )
    (folder / "movies.dat").write_bytes(films.encode("latin-1"))
    (folder / "users.dat").write_text("1::M::24::17::85711\n2::F::53::0::94043\n")
    return folder


def recbole(folder: Path) -> Path:
    (folder / "ml-100k.inter").write_text(
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t12\t5\t20\n2\t543\t3\t10\n1\t267\t1\t20\n"
    )
    (folder / "ml-100k.item").write_text(
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "12\tUsual Suspects, The\t1995\tCrime Thriller\n543\tMis\u00e9rables, Les\t1995\tDrama\n"
        "267\tunkonwn\tunkonwn\tunknown\n",
        encoding="utf-8",
    )
    (folder / "ml-100k.user").write_text(
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        "1\t24\tM\ttechnician\t85711\n2\t53\tF\tother\t94043\n"
    )
    return folder


def opened(folder: Path) -> tuple[Dataset, tuple[ReadReport, ...]]:
    result = open_dataset(DataSource(str(folder)))
    return result.dataset, result.reports


@pytest.mark.parametrize("edition", [ml_100k, ml_1m, recbole])
def test_each_edition_gives_the_same_data_set(tmp_path: Path, edition: object) -> None:
    data, reports = opened(edition(tmp_path))  # type: ignore[operator]  # one of the three functions above

    assert [(report.taken, report.refused) for report in reports] == [(3, 0), (3, 0), (2, 0)]
    assert data.items.ids == ("543", "12", "267")
    assert [item.title for item in data.item_details] == ["Les Mis\u00e9rables", "The Usual Suspects", "unknown"]
    assert [item.categories for item in data.item_details] == [("Drama",), ("Crime", "Thriller"), ("unknown",)]
    assert [item.attributes for item in data.item_details] == [{"year": 1995.0}, {"year": 1995.0}, {}]
    assert data.user_details[data.users.row("1")].attributes == {
        "age": 24.0, "gender": "M", "occupation": "technician", "zip_code": "85711",
    }  # fmt: skip
    assert set(data.interactions.event_types) == {EventType.RATING}
    assert data.interactions.values.tolist() == [3, 5, 1]


def test_ratings_alone_keep_the_order_of_the_file(tmp_path: Path) -> None:
    events, _ = read_ratings(ml_100k(tmp_path) / "u.data", ML_100K)

    assert events.times_s.tolist() == [20, 10, 20]


def test_a_folder_without_people_is_enough(tmp_path: Path) -> None:
    (ml_100k(tmp_path) / "u.user").unlink()

    data, reports = opened(tmp_path)

    assert len(reports) == 2
    assert data.user_details[0].attributes == {}


def test_bad_lines_of_any_file_are_refused_and_the_others_taken(tmp_path: Path) -> None:
    folder = ml_1m(tmp_path)
    for file in ("ratings.dat", "movies.dat", "users.dat"):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(b"1::rubbish\n" + content)

    data, reports = opened(folder)

    assert [(report.taken, report.refused) for report in reports] == [(3, 1), (3, 1), (2, 1)]
    assert [report.examples[0].line for report in reports] == [1, 1, 1]
    assert len(data.interactions) == 3


def test_ratings_that_are_all_bad_are_one_error(tmp_path: Path) -> None:
    folder = ml_100k(tmp_path)
    (folder / "u.data").write_text("nothing\n")

    with pytest.raises(DatasetError, match=r"no rating can be used: .*u\.data: took 0, refused 1"):
        read_movielens(folder, ML_100K)


def test_editions_are_told_by_their_files(tmp_path: Path) -> None:
    assert layout_of(tmp_path) is None

    for edition, layout in ((ml_100k, ML_100K), (ml_1m, ML_1M), (recbole, RECBOLE_100K)):
        folder = tmp_path / layout.ratings
        folder.mkdir()
        assert layout_of(edition(folder)) is layout


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Postman, The (Postino, Il) (1994)", "The Postman (Postino, Il)"),
        ("Avventura, L' (1960)", "L'Avventura"),
        ("Red Firecracker, Green Firecracker (1994)", "Red Firecracker, Green Firecracker"),
        ("Seven (Se7en) (1995)", "Seven (Se7en)"),
    ],
)  # fmt: skip
def test_titles_lose_their_year_and_get_their_article_in_front(tmp_path: Path, written: str, read: str) -> None:
    folder = ml_1m(tmp_path)
    (folder / "movies.dat").write_bytes(f"12::{written}::Drama\n".encode("latin-1"))

    data, _ = opened(folder)

    assert data.item_details[data.items.row("12")].title == read
