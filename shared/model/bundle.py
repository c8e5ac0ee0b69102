"""The bundle: one trained model as a versioned folder that proves its own integrity before anything of it is read.

    manifest.json           what it is, how it was made and measured, and the size and sha256 of every other file
    items.jsonl             the vocabulary, one JSON string a line; line i is item_row i
    *.safetensors           weights and arrays
    index.annoy             the retrieval index

There is no pickle in it: a bundle from elsewhere can be wrong, never code. Annoy crashes the process on a damaged
file, so hashes are checked before anything is opened.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from shared.domain.vocabulary import Vocabulary
from shared.model.manifest import SCHEMA_VERSION, FileEntry, Manifest, ManifestFacts

MANIFEST = "manifest.json"
ITEMS = "items.jsonl"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9]+)+")
_SUFFIXES = (".jsonl", ".safetensors", ".annoy")
_CHUNK_BYTES = 1 << 20


class BundleError(ValueError):
    """A bundle that must not be used; the message names the file, what is wrong with it and what to do."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle on the local disk."""

    path: Path
    manifest: Manifest
    vocabulary: Vocabulary

    def file(self, name: str) -> Path:
        """The path of one of its files.

        Raises:
            BundleError: the manifest lists no such file.
        """
        if all(entry.name != name for entry in self.manifest.files):
            raise BundleError(f"{self.path.name}/{name}: not part of this bundle; train and publish a new one")
        return self.path / name

    def arrays(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Every array of one of its safetensors files."""
        path = self.file(name)
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise BundleError(f"{self.path.name}/{name}: not a safetensors file ({error})") from error


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as safetensors (which wants them contiguous)."""
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)


def write_strings(path: Path, lines: tuple[str, ...]) -> None:
    """Write strings as JSON lines, so that any character may occur in them."""
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")


def read_strings(path: Path) -> tuple[str, ...]:
    """Read what `write_strings` wrote. Lines end at a line feed only; an id may hold other separators."""
    text = path.read_text(encoding="utf-8")
    return tuple(str(json.loads(line)) for line in text.split("\n") if line)


def write_bundle(folder: Path, facts: ManifestFacts) -> Manifest:
    """Seal a folder that already holds the files of a model: measure them and write the manifest, last.

    Raises:
        BundleError: a file does not belong into a bundle, or there is no vocabulary.
    """
    files = tuple(_entry(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST)
    if all(entry.name != ITEMS for entry in files):
        raise BundleError(f"{folder.name}/{ITEMS}: missing; a bundle holds the vocabulary of its items")
    digest = hashlib.sha256("".join(entry.sha256 for entry in files).encode()).hexdigest()
    made = datetime.fromtimestamp(facts.created_ms / 1000, UTC)
    version = f"{made:%Y%m%dT%H%M%S}{facts.created_ms % 1000:03d}-{digest[:8]}"
    manifest = Manifest(**dict(facts), schema_version=SCHEMA_VERSION, version=version, files=files)
    sealed = manifest.model_copy(update={"checksum": manifest.computed_checksum()})
    (folder / MANIFEST).write_text(sealed.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return sealed


def open_bundle(path: Path) -> Bundle:
    """Verify a folder completely, then open it.

    Raises:
        BundleError: the manifest is missing, damaged or of another schema; a file is missing, unlisted, truncated,
            altered, badly named, or a pickle.
    """
    manifest = _read_manifest(path)
    _check_names(path, manifest)
    for entry in manifest.files:
        _check_file(path, entry)
    try:
        vocabulary = Vocabulary(read_strings(path / ITEMS))
    except ValueError as error:
        raise BundleError(f"{path.name}/{ITEMS}: {error}") from error
    return Bundle(path=path, manifest=manifest, vocabulary=vocabulary)


def _read_manifest(path: Path) -> Manifest:
    where = f"{path.name}/{MANIFEST}"
    try:
        content = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{where}: missing; {path} holds no complete bundle") from None
    except ValueError as error:
        raise BundleError(f"{where}: not readable JSON ({error}); fetch the bundle again") from error
    schema = content.get("schema_version") if isinstance(content, dict) else None
    if schema != SCHEMA_VERSION:
        raise BundleError(
            f"{where}: schema version {schema!r}, this release reads {SCHEMA_VERSION}; train a new bundle"
        )
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise BundleError(f"{where}: field {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if manifest.computed_checksum() != manifest.checksum:
        raise BundleError(f"{where}: its content does not match its checksum; fetch the bundle again")
    return manifest


def _check_names(path: Path, manifest: Manifest) -> None:
    listed = [entry.name for entry in manifest.files]
    for name in listed:
        _check_name(path, name)
    for found in sorted(path.iterdir()):
        if found.name not in {*listed, MANIFEST}:
            raise BundleError(f"{path.name}/{found.name}: not listed in the manifest; remove it")
    if ITEMS not in listed:
        raise BundleError(f"{path.name}/{ITEMS}: not listed in the manifest")


def _check_name(path: Path, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BundleError(f"{path.name}: the file name {name!r} is not a plain lower-case name; refused")
    if not name.endswith(_SUFFIXES):
        raise BundleError(f"{path.name}/{name}: bundles hold only {', '.join(_SUFFIXES)} files, no pickle or archive")


def _check_file(path: Path, entry: FileEntry) -> None:
    file, where = path / entry.name, f"{path.name}/{entry.name}"
    if file.is_symlink() or not file.is_file():
        raise BundleError(f"{where}: missing or not a plain file; fetch the bundle again")
    size = file.stat().st_size
    if size != entry.size_bytes:
        raise BundleError(f"{where}: truncated or extended, {size} bytes instead of {entry.size_bytes}; fetch it again")
    if _sha256(file) != entry.sha256:
        raise BundleError(f"{where}: altered, its sha256 differs from the manifest; fetch the bundle again")
    if _looks_pickled(file):
        raise BundleError(f"{where}: holds a pickle or an archive, which could run code; refused")


def _looks_pickled(file: Path) -> bool:
    """Protocol 2 and later begin with 0x80 and the protocol; torch's archives are zip files."""
    if file.suffix == ".annoy":  # its first bytes are numbers and may be anything
        return False
    with file.open("rb") as stream:
        head = stream.read(2)
    return head == b"PK" or (len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5)


def _entry(file: Path) -> FileEntry:
    _check_name(file.parent, file.name)
    return FileEntry(name=file.name, size_bytes=file.stat().st_size, sha256=_sha256(file))


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
