"""The files of a running ranker, and who owns them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from services.ranking.run_folder import RunFolder, open_run_folder
from shared.kernel.config import ConfigError

SOCKET_PATH_BYTES = 107
LONGEST_IN_RAY = "/session_2026-11-24_03-52-13_193572_4194304/sockets/plasma_store.1"


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    second = open_run_folder(tmp_path / "run")

    with open_run_folder(tmp_path / "run"), pytest.raises(ConfigError, match="another process") as raised:
        second.__enter__()

    assert "WINNOW_DATA_DIR" in str(raised.value)


def test_a_folder_is_free_again_after_its_owner(tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "run"):
        pass

    with open_run_folder(tmp_path / "run") as folder:
        assert folder.path == tmp_path / "run"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder", encoding="utf-8")

    with pytest.raises(ConfigError, match="data/run"), open_run_folder(tmp_path / "data" / "run"):
        pass


def test_the_token_stays_the_same_and_is_the_owners_alone(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    token = folder.token()

    assert len(token) > 40
    assert RunFolder(tmp_path).token() == token
    assert stat.S_IMODE((tmp_path / "ranking_token").stat().st_mode) == 0o600


def test_a_token_that_cannot_be_written_is_told_with_its_file(tmp_path: Path) -> None:
    gone = RunFolder(tmp_path / "gone")

    with pytest.raises(ConfigError, match=r"gone/ranking_token: cannot be written.*WINNOW_DATA_DIR"):
        gone.token()


def test_two_folders_have_two_tokens_and_two_marks(tmp_path: Path) -> None:
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    one.path.mkdir()
    two.path.mkdir()

    assert one.token() != two.token()
    assert one.mark != two.mark


@pytest.mark.parametrize("depth", [0, 1, 3, 20])
def test_rays_sockets_fit_however_deep_the_data_folder_is(depth: int) -> None:
    folder = RunFolder(Path("/srv", *(["a-folder"] * depth), "run"))

    assert len(f"{folder.ray_dir}{LONGEST_IN_RAY}") <= SOCKET_PATH_BYTES


def test_ray_gets_an_empty_folder_behind_a_closed_door(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.make_ray_dir()
    (folder.ray_dir / "session_old").mkdir()

    folder.make_ray_dir()

    assert list(folder.ray_dir.iterdir()) == []
    assert stat.S_IMODE(folder.ray_dir.parent.stat().st_mode) == 0o700
    folder.remove_ray_dir()
    assert not folder.ray_dir.exists()


def test_the_pid_file_says_who_supervises(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)

    folder.write_pid(1234)

    assert json.loads((tmp_path / "ray.json").read_text(encoding="utf-8"))["pid"] == 1234
    folder.remove_pid()
    folder.remove_pid()
    assert not (tmp_path / "ray.json").exists()
