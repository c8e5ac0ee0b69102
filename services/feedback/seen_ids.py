"""Which event ids are in the log: idempotency over the whole of it for 18 bytes of disk and microseconds an id.

A log-structured set (O'Neil et al. 1996): new ids wait in memory, are written as sorted runs, and runs are merged,
eight of a size into one. A unique B-tree index would rewrite a page for each id, because hashes are random; at ten
million ids that cost ten times as much. The set is derived: the ids stand in the log's records too, the manifest says
up to which position the runs hold them, and what is missing or damaged is read from the log again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

import numpy as np
import structlog

from services.feedback.id_run import IdColumns, IdRun, merge_runs, write_run

MANIFEST: Final = "manifest.json"
RUN_IDS: Final = 131_072
"""Ids that wait in memory before they become a run."""
FAN_IN: Final = 8
ROOM_FACTOR: Final = 4
LARGEST_LEVEL: Final = 3
"""Runs of 8³ times `RUN_IDS` (64 million ids, 1.2 GB) are not merged any more."""

DONE: Final = object()

log = structlog.get_logger()


class SeenIds:
    """The set. Belongs to one thread.

    Args:
        folder: holds nothing but the runs and their manifest.
        run_ids: ids that wait in memory before they become a run.
    """

    def __init__(self, folder: Path, run_ids: int = RUN_IDS) -> None:
        self.through = ""
        """Position of the log up to which the runs hold every id; "" = none: the owner adds the rest after opening."""
        self._folder = folder
        self._run_ids = run_ids
        self._runs: list[IdRun] = []
        self._recent: set[bytes] = set()
        self._merging: Iterator[None] | None = None
        self._next_name = 0

    @classmethod
    def open(cls, folder: Path, run_ids: int = RUN_IDS) -> Self:
        """Read what is on the disk; damaged runs are thrown away, and the log must be read again from the beginning.

        Raises:
            OSError: the folder cannot be made or read.
        """
        folder.mkdir(exist_ok=True)
        seen = cls(folder, run_ids)
        try:
            seen._load()
        except (ValueError, KeyError, FileNotFoundError) as error:
            log.warning("seen_ids.rebuilt", path=str(folder), reason=str(error))
            seen.clear()
        seen._sweep()
        return seen

    def known(self, hashes: Sequence[bytes]) -> set[bytes]:
        """Those of the ids that are in the set."""
        if not hashes:
            return set()
        found = self._recent.intersection(hashes)
        if self._runs:
            asked = IdColumns.of(hashes)
            held = np.logical_or.reduce([run.holds(asked) for run in self._runs])
            found.update(hashes[row] for row in np.flatnonzero(held).tolist())
        return found

    def add(self, hashes: Iterable[bytes]) -> None:
        """Put ids into the set; durable because the log is."""
        self._recent.update(hashes)

    def tend(self, through: str) -> None:
        """Do a little of what keeps the set small in memory and quick; call it after each group of additions.

        Args:
            through: position of the log that every id added so far stands before.

        Raises:
            OSError: the disk is full or fails; the set is unharmed and tries again at the next call.
        """
        if len(self._recent) >= self._run_ids:
            self._flush(through)
        if self._merging is None:
            self._merging = self._merge()
        elif next(self._merging, DONE) is DONE:
            self._merging = None

    def clear(self) -> None:
        """Forget everything: what is on the disk belongs to another log or is damaged."""
        self.through, self._runs, self._recent, self._merging = "", [], set(), None

    def close(self) -> None:
        """Give up a merge under way."""
        self._merging = None

    def _flush(self, through: str) -> None:
        run = self._new_path()
        write_run(run, list(self._recent))
        self._install([*self._runs, IdRun.open(run)], through)
        self._recent = set()

    def _merge(self) -> Iterator[None] | None:
        for level in range(LARGEST_LEVEL):
            ripe = [run for run in self._runs if self._level(run) == level][:FAN_IN]
            if len(ripe) == FAN_IN and self._has_room_for(ripe):
                return self._merge_into_one(ripe)
        return None

    def _merge_into_one(self, ripe: Sequence[IdRun]) -> Iterator[None]:
        path = self._new_path()
        yield from merge_runs(path, ripe)
        merged = IdRun.open(path)
        self._install([merged, *(run for run in self._runs if run not in ripe)], self.through)
        for run in ripe:
            run.path.unlink()

    def _has_room_for(self, runs: Sequence[IdRun]) -> bool:
        """Whether a merge leaves most of the free space to the log itself."""
        needed = sum(run.path.stat().st_size for run in runs)
        return shutil.disk_usage(self._folder).free > ROOM_FACTOR * needed

    def _level(self, run: IdRun) -> int:
        level = 0
        while run.count >= self._run_ids * FAN_IN ** (level + 1):
            level += 1
        return level

    def _install(self, runs: list[IdRun], through: str) -> None:
        manifest = {"through": through, "runs": [run.path.name for run in runs]}
        unfinished = self._folder / f"{MANIFEST}.tmp"
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump(manifest, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / MANIFEST)
        _sync_folder(self._folder)
        self._runs, self.through = runs, through

    def _load(self) -> None:
        path = self._folder / MANIFEST
        if not path.exists():
            return
        manifest = json.loads(path.read_text(encoding="utf-8"))
        self._runs = [IdRun.open(self._folder / name) for name in manifest["runs"]]
        self.through = str(manifest["through"])
        self._next_name = max((int(run.path.stem) for run in self._runs), default=0)

    def _sweep(self) -> None:
        kept = {run.path.name for run in self._runs} | ({MANIFEST} if self._runs else set())
        for path in self._folder.iterdir():
            if path.name not in kept:
                path.unlink()

    def _new_path(self) -> Path:
        self._next_name += 1
        return self._folder / f"{self._next_name:08d}.run"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
