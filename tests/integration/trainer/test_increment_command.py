"""`winnow train --since` on the data folder's own log, as an operator types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.command.app import app

NOBODY = "127.0.0.1:1"
USERS, ITEMS = 40, 30


def winnow(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--address", NOBODY, "--json"])


def imported(file: Path, begin: int, end: int, stride: int) -> None:
    """Everybody goes round a ring of items, `stride` at a time, from one step to another."""
    rows = [
        f"u{user},i{(user + time * stride) % ITEMS},click,,{1_000_000 + 1000 * time + user}"
        for time in range(begin, end)
        for user in range(USERS)
    ]
    file.write_text("\n".join(["user_id,item_id,event_type,value,timestamp", *rows]) + "\n")
    assert winnow("import", str(file)).exit_code == 0


def test_a_bundle_goes_on_with_what_was_imported_since(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_DATA_DIR", str(tmp_path / "state"))
    imported(tmp_path / "old.csv", 0, 6, stride=1)
    first = told(winnow("train", "--preset", "tiny"))
    nothing_new = winnow("train", "--preset", "tiny", "--since", "bundle")
    imported(tmp_path / "new.csv", 6, 11, stride=5)

    second = told(winnow("train", "--preset", "tiny", "--since", "bundle"))

    assert nothing_new.exit_code == 2
    assert "nothing to go on with" in " ".join(nothing_new.stderr.split())
    gates = {gate["name"]: gate for gate in second["gates"]}
    assert "as_good_as_before" not in {gate["name"] for gate in first["gates"]}
    assert first["version"] in gates["as_good_as_before"]["detail"]
    assert gates["as_good_as_before"]["measured"] > gates["as_good_as_before"]["required"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--since", "yesterday"), "'yesterday' is not a watermark"),
        (("--since", "bundle"), "serves no bundle to go on from"),
        (("--since", "w1-0.1", "--data", "ml-100k"), "--since reads the event log; leave out --data"),
    ],
    ids=["no watermark", "no bundle", "files"],
)
def test_what_cannot_be_gone_on_from_is_refused(
    options: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_DATA_DIR", str(tmp_path / "state"))

    result = winnow("train", "--preset", "tiny", *options)

    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def told(result: Result) -> dict[str, Any]:
    """What a training that went well says."""
    assert result.exit_code == 0, result.stderr
    record: dict[str, Any] = json.loads(result.stdout)
    return record
