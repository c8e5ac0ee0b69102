"""The contracts: linted, commented, and the committed stubs are those of the protos."""

from __future__ import annotations

import filecmp
import pickle
import subprocess
import sys
from pathlib import Path

from winnow.v1 import recommendation_service_pb2

ROOT = Path(__file__).parents[2]
GENERATE = ROOT / "protos" / "generate.py"


def test_the_protos_follow_their_style_and_each_field_has_a_comment() -> None:
    result = subprocess.run([sys.executable, GENERATE, "--lint"], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_the_committed_stubs_are_those_of_the_protos(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GENERATE, "--output", tmp_path], capture_output=True, check=True)
    made = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py*") if path.suffix != ".pyc")

    _, differing, missing = filecmp.cmpfiles(tmp_path, ROOT / "shared" / "stubs", made, shallow=False)

    assert not differing + missing, "run `make protos` and commit shared/stubs"


def test_messages_can_be_pickled_because_ray_passes_them() -> None:
    request = recommendation_service_pb2.RecommendRequest(user_id="u", page_size=3)

    assert pickle.loads(pickle.dumps(request)) == request  # noqa: S301  # our own bytes of a line above
