#!/usr/bin/env python3
"""Scores exported lists from the raw files alone: standard library, one pass a user, nothing shared with the product.

usage: independent_scorer.py INTERACTIONS.csv[.gz] PREDICTIONS.tsv [--split test|val|time] [--cut 0.9] [--k 10]

Prints one JSON object: users, hrK, ndcgK, coverageK, items, split. A malformed list is exit status 1.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """One event; tuples of (time, place in the file) are its order."""

    time: float
    place: int
    user: str
    item: str


class Question(NamedTuple):
    """What one user is asked: the item to be found, and the items that may not be listed."""

    target: str
    barred: frozenset[str]


def rows_of(path: Path) -> list[Row]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines)
        return sorted(
            Row(float(line["timestamp"]), place, line["user_id"], line["item_id"]) for place, line in enumerate(table)
        )


def leave_one_out(rows: list[Row], from_end: int) -> dict[str, Question]:
    histories: dict[str, list[str]] = {}
    for row in rows:
        histories.setdefault(row.user, []).append(row.item)
    return {
        user: Question(items[-from_end], frozenset(items[:-from_end]))
        for user, items in histories.items()
        if len(items) > 2
    }


def time_split(rows: list[Row], cut: float) -> dict[str, Question]:
    border = int(len(rows) * cut)
    early: dict[str, set[str]] = {}
    for row in rows[:border]:
        early.setdefault(row.user, set()).add(row.item)
    questions: dict[str, Question] = {}
    for row in rows[border:]:
        known = early.get(row.user)
        if known is not None and row.user not in questions and row.item not in known:
            questions[row.user] = Question(row.item, frozenset(known))
    return questions


def lists_of(path: Path) -> Iterator[tuple[str, list[str]]]:
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line:
            user, _, items = line.partition("\t")
            yield user, items.split(" ")


def faults(lists: dict[str, list[str]], questions: dict[str, Question], catalogue: set[str], k: int) -> Iterator[str]:
    for user in questions.keys() ^ lists.keys():
        yield f"user {user} is in one file only"
    for user, items in lists.items():
        if len(items) != k or len(set(items)) != k:
            yield f"user {user} has not {k} different items"
        if not catalogue.issuperset(items):
            yield f"user {user} has an unknown item"
        if user in questions and questions[user].barred.intersection(items):
            yield f"user {user} has a seen item"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("interactions", type=Path)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("--split", choices=["test", "val", "time"], default="test")
    parser.add_argument("--cut", type=float, default=0.9)
    parser.add_argument("--k", type=int, default=10)
    asked = parser.parse_args()
    rows = rows_of(asked.interactions)
    by_time = asked.split == "time"
    questions = time_split(rows, asked.cut) if by_time else leave_one_out(rows, 1 if asked.split == "test" else 2)
    catalogue = {row.item for row in rows}
    lists = dict(lists_of(asked.predictions))
    if found := list(faults(lists, questions, catalogue, asked.k)):
        print(json.dumps({"faults": found[:10]}))
        return 1
    places = [lists[user].index(one.target) for user, one in questions.items() if one.target in lists[user]]
    gain = math.fsum(1 / math.log2(place + 2) for place in places)
    listed = {item for items in lists.values() for item in items}
    print(json.dumps({
        "users": len(questions),
        f"hr{asked.k}": round(len(places) / len(questions), 5),
        f"ndcg{asked.k}": round(gain / len(questions), 5),
        f"coverage{asked.k}": round(len(listed) / len(catalogue), 5),
        "items": len(catalogue),
        "split": asked.split,
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
