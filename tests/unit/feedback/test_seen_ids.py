"""The set of event ids behaves like a set, in memory, on the disk and in between, and survives what it finds there."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.feedback import id_run
from services.feedback.id_run import IdColumns, IdRun, merge_runs, write_run
from services.feedback.seen_ids import FAN_IN, MANIFEST, SeenIds


def hashed(number: int) -> bytes:
    return blake2b(str(number).encode(), digest_size=16).digest()


def many(start: int, stop: int) -> list[bytes]:
    return [hashed(number) for number in range(start, stop)]


def fill(seen: SeenIds, start: int, stop: int, step: int = 10) -> None:
    for first in range(start, stop, step):
        seen.add(many(first, min(first + step, stop)))
        seen.tend(f"w1-0.{first + step}")


def test_a_run_holds_exactly_its_ids(tmp_path: Path) -> None:
    write_run(tmp_path / "a.run", many(0, 5_000))

    run = IdRun.open(tmp_path / "a.run")

    assert run.holds(IdColumns.of(many(0, 5_000))).all()
    assert not run.holds(IdColumns.of(many(5_000, 50_000))).any()


@given(st.sets(st.binary(min_size=16, max_size=16), min_size=1), st.sets(st.binary(min_size=16, max_size=16)))
def test_a_run_of_any_ids_holds_exactly_them(held: set[bytes], others: set[bytes]) -> None:
    asked = sorted(held | others)
    with TemporaryDirectory() as folder:
        write_run(Path(folder) / "a.run", sorted(held))
        found = IdRun.open(Path(folder) / "a.run").holds(IdColumns.of(asked)).tolist()

    assert [each for each, here in zip(asked, found, strict=True) if here] == sorted(held)


def test_ids_that_share_their_first_half_are_told_apart(tmp_path: Path) -> None:
    alike = [bytes(8) + number.to_bytes(8, "little") for number in range(100)]
    write_run(tmp_path / "a.run", alike[::2])

    found = IdRun.open(tmp_path / "a.run").holds(IdColumns.of(alike))

    assert found.tolist() == [True, False] * 50


def test_a_merged_run_holds_the_ids_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_run, "SLICE_IDS", 500)
    for part in range(3):
        write_run(tmp_path / f"{part}.run", many(part * 2_000, part * 2_000 + 1_000))

    steps = list(merge_runs(tmp_path / "all.run", [IdRun.open(tmp_path / f"{part}.run") for part in range(3)]))

    merged = IdRun.open(tmp_path / "all.run")
    assert len(steps) == 6
    assert merged.count == 3_000
    for part in range(3):
        assert merged.holds(IdColumns.of(many(part * 2_000, part * 2_000 + 1_000))).all()
        assert not merged.holds(IdColumns.of(many(part * 2_000 + 1_000, (part + 1) * 2_000))).any()


def test_an_abandoned_merge_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(id_run, "SLICE_IDS", 10)
    write_run(tmp_path / "a.run", many(0, 100))
    merging = merge_runs(tmp_path / "all.run", [IdRun.open(tmp_path / "a.run")])
    next(merging)

    merging.close()  # type: ignore[attr-defined]  # it is a generator

    assert [path.name for path in tmp_path.iterdir()] == ["a.run"]


def test_new_ids_become_runs_and_runs_become_fewer(tmp_path: Path) -> None:
    seen = SeenIds.open(tmp_path / "ids", run_ids=10)

    fill(seen, 0, 10 * FAN_IN * FAN_IN * 2)

    runs = list((tmp_path / "ids").glob("*.run"))
    assert len(runs) < 3 * FAN_IN
    assert seen.known(many(0, 2_000)) == set(many(0, 10 * FAN_IN * FAN_IN * 2))


def test_what_the_runs_hold_is_there_after_opening_again(tmp_path: Path) -> None:
    fill(SeenIds.open(tmp_path / "ids", run_ids=10), 0, 500)

    again = SeenIds.open(tmp_path / "ids", run_ids=10)

    assert again.through == "w1-0.500"
    assert again.known(many(0, 600)) == set(many(0, 500))


def test_only_what_waits_in_memory_is_missing_after_opening_again(tmp_path: Path) -> None:
    seen = SeenIds.open(tmp_path / "ids", run_ids=100)
    fill(seen, 0, 130)

    again = SeenIds.open(tmp_path / "ids", run_ids=100)

    assert again.through == "w1-0.100"
    assert again.known(many(0, 130)) == set(many(0, 100))


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "missing", "manifest"])
def test_a_damaged_set_is_thrown_away_and_asks_for_the_log(tmp_path: Path, damage: str) -> None:
    fill(SeenIds.open(tmp_path / "ids", run_ids=10), 0, 50)
    run, manifest = next((tmp_path / "ids").glob("*.run")), tmp_path / "ids" / MANIFEST
    if damage == "truncated":
        run.write_bytes(run.read_bytes()[:-8])
    elif damage == "overwritten":
        run.write_bytes(bytes(run.stat().st_size))
    elif damage == "missing":
        run.unlink()
    else:
        manifest.write_text("{")

    again = SeenIds.open(tmp_path / "ids", run_ids=10)

    assert again.through == ""
    assert again.known(many(0, 50)) == set()
    assert list((tmp_path / "ids").iterdir()) == []


def test_files_that_no_manifest_names_are_swept_away(tmp_path: Path) -> None:
    fill(SeenIds.open(tmp_path / "ids", run_ids=10), 0, 20)
    (tmp_path / "ids" / "00000099.run").write_bytes(b"left by a crash")
    (tmp_path / "ids" / "00000098.tmp").write_bytes(b"left by a crash")

    SeenIds.open(tmp_path / "ids", run_ids=10)

    names = json.loads((tmp_path / "ids" / MANIFEST).read_text())["runs"]
    assert sorted(path.name for path in (tmp_path / "ids").iterdir()) == sorted([*names, MANIFEST])


EVERY = [hashed(number) for number in range(501)]


class SetMachine(RuleBasedStateMachine):
    """Any order of additions, questions and restarts against a plain set."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.seen = SeenIds.open(Path(self.folder.name) / "ids", run_ids=8)
        self.added: list[int] = []

    @rule(numbers=st.lists(st.integers(0, 500), max_size=20))
    def add(self, numbers: list[int]) -> None:
        new = [number for number in dict.fromkeys(numbers) if hashed(number) not in self.seen.known([hashed(number)])]
        self.seen.add([hashed(number) for number in new])
        self.added += new
        self.seen.tend(f"w1-0.{len(self.added)}" if self.added else "")

    @rule()
    def restart(self) -> None:
        self.seen.close()
        self.seen = SeenIds.open(Path(self.folder.name) / "ids", run_ids=8)
        kept = int(self.seen.through.rpartition(".")[2] or 0)
        self.seen.add([hashed(number) for number in self.added[kept:]])

    @invariant()
    def it_knows_what_was_added(self) -> None:
        assert self.seen.known(EVERY) == {EVERY[number] for number in self.added}

    def teardown(self) -> None:
        self.folder.cleanup()


TestTheSetBehavesLikeASet = SetMachine.TestCase
TestTheSetBehavesLikeASet.settings = settings(
    max_examples=max(10, settings().max_examples // 4), stateful_step_count=20
)
