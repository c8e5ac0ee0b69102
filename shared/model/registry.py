"""Where bundles live: a folder or any fsspec URL, with one pointer that says which is served.

current                 the served version, replaced atomically
bundles/VERSION/…       published; the manifest is written last, so a half-copied bundle does not exist
rejected/VERSION/…      failed a gate: kept with `report.json`, never served
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import ValidationError

from shared.kernel.config import ConfigError
from shared.model.bundle import MANIFEST, BundleError, open_bundle
from shared.model.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = re.compile(r"\d{8}T\d{9}-[0-9a-f]{8}")
_REPORT = "report.json"
PART_BYTES = 1 << 20


class RegistryError(ValueError):
    """The registry cannot do what was asked; the message names the registry, the version and the remedy."""


@dataclass(frozen=True, slots=True)
class BundleSummary:
    """One line of `winnow models list`."""

    version: str
    created_ms: int
    current: bool
    rejected: bool
    serve_order: str
    holdout: str
    metrics: Mapping[str, float]


class Registry:
    """Publishes, lists and fetches bundles.

    Args:
        url: a folder, or any URL that fsspec knows (its extra must be installed, e.g. s3fs for `s3://`).

    Raises:
        ConfigError: the URL is of no known kind.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise ConfigError(
                f"registry {url!r}: {error}; set WINNOW_…_REGISTRY_URL to a folder or a URL whose package is installed"
            ) from error

    def publish(self, bundle_dir: Path) -> str:
        """Verify a bundle, copy it and make it the served one.

        Returns:
            Its version.

        Raises:
            BundleError: the bundle is damaged.
            RegistryError: it failed a gate, or the registry cannot be written.
        """
        version = self.store(bundle_dir)
        self._point_to(version)
        return version

    def store(self, bundle_dir: Path) -> str:
        """Verify a bundle and copy it without serving it, e.g. the sibling that evaluations use."""
        manifest = open_bundle(bundle_dir).manifest
        if not manifest.publishable:
            failed = ", ".join(gate.name for gate in manifest.gates if not gate.passed and gate.blocking)
            raise RegistryError(f"bundle {manifest.version} failed its gates ({failed}) and cannot be served")
        self._upload(bundle_dir, f"bundles/{manifest.version}", manifest)
        return manifest.version

    def reject(self, bundle_dir: Path, report: Mapping[str, object]) -> str:
        """Keep a bundle that failed its gates aside, with the reason."""
        manifest = open_bundle(bundle_dir).manifest
        folder = f"rejected/{manifest.version}"
        self._upload(bundle_dir, folder, manifest)
        with self._errors("write"):
            self._files.pipe_file(self._path(f"{folder}/{_REPORT}"), json.dumps(dict(report), indent=2).encode())
        return manifest.version

    def current(self) -> str | None:
        """The served version; None before the first one. Cheap enough to poll."""
        try:
            with self._errors("read"):
                version = self._files.cat_file(self._path("current")).decode().strip()
        except FileNotFoundError:
            return None
        if not _VERSION.fullmatch(version):
            raise RegistryError(f"registry {self.url}: `current` holds {version[:80]!r}, which is no version")
        return str(version)

    def manifest(self, version: str) -> Manifest:
        """What a published bundle says about itself, without fetching the rest of it.

        Raises:
            BundleError: it is damaged, or of another release.
            RegistryError: there is no such version, or it cannot be read.
        """
        self._require(version)
        with self._errors("read"):
            content = self._files.cat_file(self._path(f"bundles/{version}/{MANIFEST}"))
        try:
            return Manifest.model_validate_json(content)
        except ValidationError as error:
            raise BundleError(f"{version}/{MANIFEST}: {error.errors()[0]['msg']}; train a new bundle") from error

    def fetch(self, version: str, cache_dir: Path) -> Path:
        """A verified local copy of a published bundle; the one in the cache when it is intact.

        Raises:
            BundleError: what the registry holds is damaged.
            RegistryError: there is no such version, or it cannot be read.
            OSError: the cache cannot be written, e.g. because its disk is full.
        """
        self._require(version)
        target = cache_dir / version
        if _intact(target):
            return target
        cache_dir.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{version}-", dir=cache_dir))
        try:
            self._download(version, staging)
            open_bundle(staging)
            shutil.rmtree(target, ignore_errors=True)
            staging.rename(target)
        except BundleError as error:
            raise BundleError(f"bundle {version} of registry {self.url} is damaged: {error}") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return target

    def list(self) -> tuple[BundleSummary, ...]:
        """Every bundle, newest first, rejected ones included."""
        current = self.current()
        rows = [self._summary(manifest, current, folder) for folder in ("bundles", "rejected")
                for manifest in self._manifests(folder)]  # fmt: skip
        return tuple(sorted(rows, key=lambda row: row.version, reverse=True))

    def rollback(self, to: str | None = None) -> str:
        """Serve an earlier bundle again: the one named, or the newest servable one before the current.

        Raises:
            RegistryError: there is no such bundle.
        """
        if to is None:
            to = self._before_current()
        self._require(to)
        self._point_to(to)
        return to

    def _before_current(self) -> str:
        current = self.current()
        siblings = {manifest.evaluation_version for manifest in self._manifests("bundles")}
        rows = (row for row in self.list() if not row.rejected and row.version not in siblings)
        older = [row.version for row in rows if current is None or row.version < current]
        if not older:
            raise RegistryError(f"registry {self.url}: no bundle before {current or 'the first'}; publish one first")
        return older[0]

    def _require(self, version: str) -> None:
        if not _VERSION.fullmatch(version):
            raise RegistryError(f"registry {self.url}: {version[:80]!r} is no version; see `winnow models list`")
        with self._errors("read"):
            if not self._files.exists(self._path(f"bundles/{version}/{MANIFEST}")):
                raise RegistryError(f"registry {self.url} has no bundle {version}; see `winnow models list`")

    def _manifests(self, folder: str) -> Iterator[Manifest]:
        with self._errors("read"):
            paths = self._files.glob(self._path(f"{folder}/*/{MANIFEST}"))
        for path in paths:
            try:
                yield Manifest.model_validate_json(self._files.cat_file(path))
            except ValidationError:
                continue  # of another schema version; fetching it by name says so

    def _summary(self, manifest: Manifest, current: str | None, folder: str) -> BundleSummary:
        return BundleSummary(
            version=manifest.version,
            created_ms=manifest.created_ms,
            current=manifest.version == current and folder == "bundles",
            rejected=folder == "rejected",
            serve_order=manifest.serve_order,
            holdout=manifest.holdout.split,
            metrics=manifest.metrics,
        )

    def _upload(self, source: Path, folder: str, manifest: Manifest) -> None:
        with self._errors("write"):
            self._files.makedirs(self._path(folder), exist_ok=True)
            for name in (*(entry.name for entry in manifest.files), MANIFEST):
                with (source / name).open("rb") as read, self._files.open(self._path(f"{folder}/{name}"), "wb") as out:
                    shutil.copyfileobj(read, out)

    def _download(self, version: str, target: Path) -> None:
        """What keeps it from writing here is no fault of the registry, and comes out as it is."""
        with self._errors("read"):
            paths = self._files.ls(self._path(f"bundles/{version}"), detail=False)
        for path in paths:
            with self._errors("read"):
                source = self._files.open(path, "rb")
            with source, (target / Path(path).name).open("wb") as out:
                while part := self._part(source):
                    out.write(part)

    def _part(self, source: IO[bytes]) -> bytes:
        with self._errors("read"):
            return source.read(PART_BYTES)

    def _point_to(self, version: str) -> None:
        pointer, content = self._path("current"), f"{version}\n".encode()
        with self._errors("write"):
            if isinstance(self._files, LocalFileSystem):
                _replace_file(Path(pointer), content)
            else:  # object stores put one small object atomically
                self._files.pipe_file(pointer, content)

    def _path(self, relative: str) -> str:
        return f"{self._root.rstrip('/')}/{relative}"

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise RegistryError(
                f"registry {self.url}: cannot {doing} it ({error}); check the path and its rights"
            ) from error


def _intact(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        open_bundle(path)
    except BundleError:
        return False
    return True


def _replace_file(path: Path, content: bytes) -> None:
    """Replace a file so that a reader, or a crash, finds either the old content or the new."""
    handle, staging = tempfile.mkstemp(prefix=".current-", dir=path.parent)
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    Path(staging).replace(path)
