"""Data that nobody wants to get: `winnow train` uses what can be used and says the rest in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.command.app import app

HEADER = "user_id,item_id,event_type,value,timestamp\n"
USERS, ITEMS, EVENTS = 12, 12, 5


@dataclass(frozen=True)
class Outcome:
    """What the command said."""

    code: int
    told: dict[str, Any]
    error: str


Trained = Callable[..., Outcome]


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    monkeypatch.setenv("WINNOW_DATA_DIR", str(tmp_path / "state"))
    data = tmp_path / "data"
    data.mkdir()

    def run(rows: Iterable[str], items: Iterable[dict[str, Any]] = (), *options: str) -> Outcome:
        (data / "interactions.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
        if listed := [json.dumps(item) for item in items]:
            (data / "items.jsonl").write_text("\n".join(listed))
        result = CliRunner().invoke(app, ["train", "--data", str(data), "--preset", "tiny", "--json", *options])
        error = " ".join(line for line in result.stderr.splitlines() if line.startswith("winnow:"))
        return Outcome(result.exit_code, json.loads(result.stdout) if result.stdout else {}, error)

    return run


def walked(kind: str = "view", value: Callable[[int, int], str] = lambda user, time: "", step: int = 1) -> list[str]:
    """Users who walk through a ring of items, one or two at a time."""
    return [
        f"u{user},i{(user * 3 + time * (1 + user % 2)) % ITEMS},{kind},{value(user, time)},{1000 + step * time}"
        for time in range(EVENTS)
        for user in range(USERS)
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no row can be used"),
        ([f"u{user},only,view,,{user + 1}" for user in range(8)], "has 1 items"),
        (walked("impression"), "no event that tells a wish"),
        (walked("rating", lambda user, time: "nan"), "line 2: value 'nan' is not a finite number"),
        ([f"u{user},i{user},view,,1" for user in range(8)], "no user of data has 3 events"),
    ],
    ids=["empty", "one item", "impressions only", "only NaN ratings", "one event a user"],
)
def test_what_cannot_be_learned_from_is_refused_in_one_sentence(
    rows: list[str], message: str, trained: Trained
) -> None:
    outcome = trained(rows)

    assert outcome.code == 2
    assert message in outcome.error
    assert not outcome.told


def test_a_single_user_is_enough(trained: Trained) -> None:
    assert trained([f"u,i{time},view,,{time + 1}" for time in range(8)]).told["published"]


def test_ratings_that_are_no_numbers_are_refused_by_line_and_the_others_taken(trained: Trained) -> None:
    outcome = trained(walked("rating", lambda user, time: "nan" if user == time == 1 else str(1 + (user + time) % 5)))

    (report,) = [each for each in outcome.told["prepared"]["files"] if each["refused"]]
    assert (report["taken"], report["refused"]) == (USERS * EVENTS - 1, 1)
    assert report["examples"][0]["line"] == 2 + USERS + 1
    assert "nan" in report["examples"][0]["reason"]


def test_where_all_times_are_equal_the_order_of_rows_decides_and_repeated_rows_count_once(trained: Trained) -> None:
    rows = walked(step=0)

    outcome = trained([*rows, *rows[:7]])

    assert outcome.told["published"]
    (change,) = outcome.told["prepared"]["changes"]
    assert (change["step"], change["count"]) == ("dropped repeated events", 7)


def test_texts_of_any_language_or_none_and_a_broken_image_cost_their_items_a_vector_at_most(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_CONTENT_TEXT_ENCODER", "multilingual")
    monkeypatch.setenv("WINNOW_CONTENT_IMAGE_ENCODER", "efficientnet-lite0")
    titles = [
        "",
        "   ",
        "ᚠᚢᚦᚨᚱᚲ",
        "𓀀𓁐𓃭",
        "ⵜⴰⵎⴰⵣⵉⵖⵜ",
        "\u200b\u200d",
        "🙃🙃🙃",
        "ကမ္ဘာ",
        "x" * 100_000,
        "Heat",
        "Été",
        "\0",
    ]
    items: list[dict[str, Any]] = [{"item_id": f"i{row}", "title": title} for row, title in enumerate(titles)]
    items[0]["image_uri"] = "data:image/png;base64,bm8gcGljdHVyZQ=="

    outcome = trained(walked(), items)

    assert outcome.told["published"]
    assert [each["item_id"] for each in outcome.told["prepared"]["refused_contents"]] == ["i0"]
    assert 1 <= sum(outcome.told["prepared"]["vectors"].values()) < ITEMS
