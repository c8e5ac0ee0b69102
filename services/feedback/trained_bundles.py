"""Which model bundles may have learned from a user: read from the manifests of the registry, nothing else of it."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import fsspec
from pydantic import ValidationError

from shared.domain.watermark import Watermark
from shared.kernel.errors import ErrorReason, ServiceError
from shared.model.manifest import Manifest

MANIFESTS: Final = ("bundles/*/manifest.json", "rejected/*/manifest.json")
"""The layout of `shared.model.registry`, which stands on libraries that this service does not carry."""


class TrainedBundles(Protocol):
    """Bundles and the positions of the log that they were trained at."""

    async def holding(self, first: Watermark) -> tuple[str, ...]:
        """Versions whose training data may hold a record, oldest first; `first` is the position behind it.

        Raises:
            ServiceError: DEPENDENCY_UNAVAILABLE.
        """


class NoBundles:
    """For a log beside which nothing is trained."""

    async def holding(self, first: Watermark) -> tuple[str, ...]:
        """None."""
        return ()


class RegistryBundles:
    """The bundles of a registry, served or not.

    Args:
        url: a folder or an fsspec URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def holding(self, first: Watermark) -> tuple[str, ...]:
        """Versions that were trained on the log at or behind a position, and those that were trained on files."""
        found = await asyncio.to_thread(self._read)
        return tuple(sorted(each.version for each in found if _may_hold(each, first)))

    def _read(self) -> list[Manifest]:
        try:
            files, root = fsspec.core.url_to_fs(self._url)
            paths = [path for pattern in MANIFESTS for path in files.glob(f"{root.rstrip('/')}/{pattern}")]
            return [manifest for path in paths if (manifest := _parsed(files.cat_file(path)))]
        except (OSError, ValueError, ImportError) as error:
            message = (
                f"the registry {self._url} cannot be read ({error}), so it is not known which bundles hold the user, "
                f"and nothing was erased: check WINNOW_FEEDBACK_REGISTRY_URL, then call again"
            )
            metadata = {"dependency": "registry", "code": "UNAVAILABLE"}
            raise ServiceError(ErrorReason.DEPENDENCY_UNAVAILABLE, message, metadata=metadata) from error


def _may_hold(manifest: Manifest, first: Watermark) -> bool:
    return not manifest.watermark or Watermark.parse(manifest.watermark).covers(first)


def _parsed(content: bytes) -> Manifest | None:
    try:
        return Manifest.model_validate_json(content)
    except ValidationError:
        return None  # of another schema version, which no service of this release serves
