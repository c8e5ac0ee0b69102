"""A training that was killed goes on where it was, and ends as if nothing had happened."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

COMMAND = [sys.executable, "-m", "tests.integration.trainer.killable_training"]
WEIGHTS = ("retriever.safetensors", "ranker.safetensors", "calibration.safetensors")


def weights(folder: Path) -> dict[str, bytes]:
    """The bundle that a whole run publishes."""
    done = subprocess.run([*COMMAND, str(folder)], capture_output=True, text=True, check=True)
    (bundle,) = folder.glob(f"registry/**/{done.stdout}")
    return {name: (bundle / name).read_bytes() for name in WEIGHTS}


def test_a_training_that_was_killed_ends_with_the_same_bundle(tmp_path: Path) -> None:
    whole = weights(tmp_path / "whole")
    checkpoint = tmp_path / "killed" / "checkpoints" / "retriever.safetensors"
    with subprocess.Popen([*COMMAND, str(tmp_path / "killed")], stdout=subprocess.DEVNULL) as process:
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.005)
        process.kill()
    assert process.returncode == -9
    assert checkpoint.exists()

    assert weights(tmp_path / "killed") == whole
