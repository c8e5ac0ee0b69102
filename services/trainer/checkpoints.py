"""The state of a training run on disk after every epoch: safetensors and JSON, replaced atomically, no pickle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Tensors by name, and numbers."""

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """A folder with one checkpoint a stage of one run.

    Attributes:
        folder: where they are.
        fingerprint: of data and settings; a checkpoint of another run is not resumed.
    """

    folder: Path
    fingerprint: str

    def save(self, stage: str, checkpoint: Checkpoint) -> None:
        """Replace the stage's checkpoint; a crash leaves the old one or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(stage)
        staging = path.with_suffix(".writing")
        header = {"fingerprint": self.fingerprint, "facts": json.dumps(dict(checkpoint.facts))}
        tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
        save_file(tensors, staging, metadata=header)
        with staging.open("rb") as stream:
            os.fsync(stream.fileno())
        staging.replace(path)

    def load(self, stage: str) -> Checkpoint | None:
        """The stage's checkpoint; None when there is none of this run.

        Raises:
            CheckpointError: it is damaged.
        """
        path = self._path(stage)
        if not path.exists():
            return None
        try:
            header = read_header(path)
            if header.get("fingerprint") != self.fingerprint:
                return None
            return Checkpoint(load_file(path), json.loads(header["facts"]))
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"checkpoint {path} is damaged ({error}); delete it to start again") from error

    def clear(self) -> None:
        """Forget the run: it has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, stage: str) -> Path:
        return self.folder / f"{stage}.safetensors"


def read_header(path: Path) -> dict[str, str]:
    """The metadata of a safetensors file: 8 bytes of length, then JSON."""
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        if size > path.stat().st_size:
            raise ValueError("its header is longer than the file")
        metadata: dict[str, str] = json.loads(stream.read(size)).get("__metadata__", {})
    return metadata
