"""Data that nobody wants to get: `winnow train` uses what can be used and says the rest in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.command.app import app
from services.trainer.app import Workplace, train
from services.trainer.datasets import DatasetError
from services.trainer.fitting import TrainingDivergedError
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from shared.kernel.clock import system_clock
from shared.model.registry import Registry
from tests.unit.trainer.data_worlds import walks

HEADER = "user_id,item_id,event_type,value,timestamp\n"
USERS, ITEMS, EVENTS = 12, 12, 5
SETTINGS = replace(TrainingSettings(), preset="tiny", epochs=Epochs(1, 1, 1, 0, 2))


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


def test_items_without_text_in_unknown_languages_and_with_corrupt_images_train_and_the_image_is_named(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    monkeypatch.setenv("WINNOW_CONTENT_IMAGE_DIR", str(tmp_path))
    items = [{"item_id": "i0"}, {"item_id": "i1", "title": "ქართული ფილმი"}, {"item_id": "i2", "title": "🙂 \u0000"},
             {"item_id": "i3", "title": "Heat", "image_uri": "broken.png"}]  # fmt: skip

    outcome = trained(walked(), items)

    assert outcome.told["published"]
    assert outcome.told["prepared"]["vectors"] == {"text by use-multilingual-3": 3}
    (refused,) = outcome.told["prepared"]["refused_contents"]
    assert (refused["item_id"], refused["reference"]) == ("i3", "broken.png")
    assert "no readable image" in refused["reason"]


def test_a_user_with_a_hundred_thousand_events_is_one_user_among_others(trained: Trained) -> None:
    long = [f"busy,i{(time * 7 + time // 5) % ITEMS},view,,{1000 + time}" for time in range(100_000)]

    outcome = trained([*walked(), *long])

    assert outcome.told["published"]


def test_a_size_that_does_not_fit_into_memory_is_refused_before_it_begins(tmp_path: Path) -> None:
    place = Workplace(Registry(str(tmp_path / "registry")), tmp_path / "work", system_clock, memory_bytes=1_000_000)

    with pytest.raises(DatasetError, match=r"24 items with preset 'large' .* choose a smaller --preset"):
        train(walks(), replace(SETTINGS, preset="large"), place, silent)


def test_a_training_that_diverges_says_so_and_what_was_served_stays(tmp_path: Path) -> None:
    place = Workplace(Registry(str(tmp_path / "registry")), tmp_path / "work", system_clock)
    served = train(walks(), SETTINGS, place, silent).publication.version

    with pytest.raises(TrainingDivergedError, match="retriever"):
        train(walks(), replace(SETTINGS, learning_rate=1e30), place, silent)

    assert place.registry.current() == served
