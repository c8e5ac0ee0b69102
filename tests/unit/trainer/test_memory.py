"""Whether a training fits: what the machine says is free, and what its container still gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.trainer.memory import available_bytes

MACHINE = 8 * 1024**2
"""Bytes that are free on the machine."""


NO_LIMIT_OF_VERSION_1 = 9_223_372_036_854_771_712


def older_system(root: Path, limit: int) -> Path:
    """The same with control groups of version 1."""
    system(root, "max")
    group = root / "sys" / "fs" / "cgroup"
    for file in group.iterdir():
        file.unlink()
    group = group / "memory"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (group / "memory.usage_in_bytes").write_text(f"{3 * 1024**2}\n")
    (group / "memory.stat").write_text(f"inactive_file 0\ntotal_inactive_file {1024**2}\n")
    return root


def system(root: Path, limit: str) -> Path:
    """The files of a system whose container uses 3 MiB, 1 MiB of it a cache."""
    (root / "proc").mkdir()
    (root / "proc" / "meminfo").write_text(f"MemTotal: 16384 kB\nMemAvailable: {MACHINE // 1024} kB\n")
    group = root / "sys" / "fs" / "cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{3 * 1024**2}\n")
    (group / "memory.stat").write_text(f"anon 0\ninactive_file {1024**2}\n")
    return root


@pytest.mark.parametrize(
    ("limit", "free"),
    [("max", MACHINE), (str(64 * 1024**2), MACHINE), (str(6 * 1024**2), 4 * 1024**2), (str(1024**2), 0)],
    ids=["no limit", "more than the machine has", "less than the machine has", "beyond it already"],
)
def test_a_container_gives_no_more_than_its_limit_leaves(limit: str, free: int, tmp_path: Path) -> None:
    assert available_bytes(system(tmp_path, limit)) == free


@pytest.mark.parametrize(
    ("limit", "free"), [(NO_LIMIT_OF_VERSION_1, MACHINE), (6 * 1024**2, 4 * 1024**2), (1024**2, 0)]
)
def test_a_container_on_an_older_node_gives_no_more_either(limit: int, free: int, tmp_path: Path) -> None:
    assert available_bytes(older_system(tmp_path, limit)) == free


def test_a_system_that_does_not_tell_its_memory_refuses_nothing(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) is None
