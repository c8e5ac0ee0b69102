"""MovieLens as GroupLens publishes it (100K and 1M) and as RecBole ships it, to one and the same data set.

Ratings are `rating` events with the stars as value; titles lose their year (it is the attribute `year`) and get their
article back in front. Ids are MovieLens' own. https://files.grouplens.org/datasets/movielens/ml-100k-README.txt
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from services.trainer.datasets import Dataset, DatasetError
from services.trainer.datasets_assembly import assemble
from services.trainer.interchange_csv import parse_rows
from services.trainer.interchange_events import EventCollector, RawBatch, RawEvents
from services.trainer.interchange_reports import ReadReport, RefusalLog
from services.trainer.interchange_text import TextBlock, read_blocks
from shared.domain.events import EventType
from shared.domain.items import Item, Scalar, User

Detail = TypeVar("Detail", Item, User)
_RATING_COLUMNS = ("user_id", "item_id", "value", "timestamp")
_GENRES_100K = (
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip
_OCCUPATIONS_1M = (
    "other", "educator", "artist", "administrative", "student", "customer service", "doctor", "executive", "farmer",
    "homemaker", "k-12 student", "lawyer", "programmer", "retired", "salesman", "scientist", "self-employed",
    "technician", "tradesman", "unemployed", "writer",
)  # fmt: skip
_ARTICLES = "The|A|An|Les?|La|Il|L'|El|Los|Las|Das|Der|Die|Det|Den|Une?"
_TRAILING_ARTICLE = re.compile(rf"^(?P<name>[^(]*?), (?P<article>{_ARTICLES})(?P<rest>( \(.*)?)$")
_TRAILING_YEAR = re.compile(r"^(?P<title>.*?)\s*\((?P<year>\d{4})\)\s*$")


@dataclass(frozen=True, slots=True)
class Layout:
    """How one edition of MovieLens is written.

    Attributes:
        name: of the data set.
        ratings, films, people: the names of its files; `people` may be absent from a folder.
        separator: between fields of the ratings.
        has_header: whether the files begin with a line of names.
    """

    name: str
    ratings: str
    films: str
    people: str
    separator: bytes
    has_header: bool = False


ML_100K = Layout("ml-100k", "u.data", "u.item", "u.user", b"\t")
ML_1M = Layout("ml-1m", "ratings.dat", "movies.dat", "users.dat", b"::")
RECBOLE_100K = Layout("ml-100k", "ml-100k.inter", "ml-100k.item", "ml-100k.user", b"\t", has_header=True)


def layout_of(folder: Path) -> Layout | None:
    """The edition whose ratings and films lie in this folder."""
    editions = (ML_100K, ML_1M, RECBOLE_100K)
    return next((one for one in editions if (folder / one.ratings).is_file() and (folder / one.films).is_file()), None)


def read_movielens(folder: Path, layout: Layout) -> tuple[Dataset, tuple[ReadReport, ...]]:
    """Read one edition.

    Raises:
        DatasetError: a file is missing, or no rating could be taken.
    """
    events, report = read_ratings(folder / layout.ratings, layout)
    if not len(events):
        raise DatasetError(f"no rating can be used: {report.summary()}")
    films, films_report = _details(folder / layout.films, layout, _film)
    reports = [report, films_report]
    people: list[User] = []
    if (folder / layout.people).is_file():
        people, people_report = _details(folder / layout.people, layout, _person)
        reports.append(people_report)
    return assemble(events, films, people, layout.name), tuple(reports)


def read_ratings(path: Path, layout: Layout) -> tuple[RawEvents, ReadReport]:
    """The ratings in file order (which GroupLens' folds such as `u1.test` refer to)."""
    log = RefusalLog()
    collector = EventCollector(log)
    for block in _without_header(read_blocks(path, log), layout):
        plain = TextBlock(block.first_line, block.content.replace(layout.separator, b","))
        batch = parse_rows(plain, _RATING_COLUMNS, _RATING_COLUMNS, log)
        types = pa.repeat(pa.scalar(EventType.RATING.label.encode(), pa.binary()), len(batch.lines))
        collector.add(RawBatch({**batch.columns, "event_type": types}, batch.lines))
    events = collector.finish()
    return events, log.report(str(path), len(events))


def _without_header(blocks: Iterable[TextBlock], layout: Layout) -> Iterator[TextBlock]:
    for block in blocks:
        if layout.has_header and block.first_line == 1:
            yield TextBlock(2, block.content.partition(b"\n")[2])
        else:
            yield block


def _details(
    path: Path, layout: Layout, make: Callable[[Layout, list[str]], Detail]
) -> tuple[list[Detail], ReadReport]:
    separator = {ML_100K: "|", ML_1M: "::", RECBOLE_100K: "\t"}[layout]
    encoding = "utf-8" if layout is RECBOLE_100K else "latin-1"
    log = RefusalLog()
    taken: list[Detail] = []
    for block in _without_header(read_blocks(path, log), layout):
        for line, content in block.lines():
            try:
                taken.append(make(layout, content.decode(encoding).split(separator)))
            except (ValueError, IndexError) as error:
                log.refuse(line, f"not a line of {layout.name}: {error}")
    return taken, log.report(str(path), len(taken))


def _film(layout: Layout, fields: list[str]) -> Item:
    if layout is RECBOLE_100K:
        item_id, title, year, genres = fields
        return _item(item_id, f"{title} ({year})", genres.split(" "))
    if layout is ML_1M:
        item_id, title, genres = fields
        return _item(item_id, title, genres.split("|"))
    flags = fields[-len(_GENRES_100K) :]
    return _item(fields[0], fields[1], [name for name, flag in zip(_GENRES_100K, flags, strict=True) if flag == "1"])


def _item(item_id: str, title_and_year: str, genres: list[str]) -> Item:
    match = _TRAILING_YEAR.match(title_and_year)
    title = match["title"] if match else title_and_year.partition(" (unkonwn)")[0]  # RecBole's own spelling
    attributes: dict[str, Scalar] = {"year": float(match["year"])} if match else {}
    title = "unknown" if title == "unkonwn" else title
    return Item(item_id, _article_first(title), categories=tuple(genre for genre in genres if genre),
                attributes=attributes)  # fmt: skip


def _article_first(title: str) -> str:
    match = _TRAILING_ARTICLE.match(title)
    if not match:
        return title
    gap = "" if match["article"].endswith("'") else " "
    return f"{match['article']}{gap}{match['name']}{match['rest']}"


def _person(layout: Layout, fields: list[str]) -> User:
    user_id, *rest = fields
    if layout is ML_1M:
        gender, age, occupation, zip_code = rest
        occupation = _OCCUPATIONS_1M[int(occupation)]
    else:
        age, gender, occupation, zip_code = rest
    return User(user_id, attributes={"age": float(age), "gender": gender, "occupation": occupation,
                                     "zip_code": zip_code})  # fmt: skip
