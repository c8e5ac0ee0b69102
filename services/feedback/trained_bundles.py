"""Which model bundles may have learned from a user: read from the manifests of the registry, nothing else of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

import fsspec
from pydantic import ValidationError

from shared.domain.watermark import Watermark
from shared.kernel.errors import ErrorReason, ServiceError
from shared.model.manifest import Manifest

MANIFESTS: Final = ("bundles/*/manifest.json", "rejected/*/manifest.json")
"""The layout of `shared.model.registry`, which stands on libraries that this service does not carry."""


@dataclass(frozen=True, slots=True)
class TrainedBundle:
    """A bundle of the registry.

    Attributes:
        version: its name.
        watermark: position of the log that it was trained at; None: it was trained on files.
    """

    version: str
    watermark: Watermark | None

    def may_hold(self, record: Watermark) -> bool:
        """Whether its training data may hold a record, given by the position behind it."""
        return self.watermark is None or self.watermark.covers(record)


class TrainedBundles(Protocol):
    """The bundles that were trained beside a log."""

    async def read(self) -> tuple[TrainedBundle, ...]:
        """All of them, served or not, oldest first.

        Raises:
            ServiceError: DEPENDENCY_UNAVAILABLE.
        """


class NoBundles:
    """For a log beside which nothing is trained."""

    async def read(self) -> tuple[TrainedBundle, ...]:
        """None."""
        return ()


class RegistryBundles:
    """The bundles of a registry.

    Args:
        url: a folder or an fsspec URL.
        may_be_missing: nothing there means no bundles; else it means that the registry is somewhere else.
    """

    def __init__(self, url: str, *, may_be_missing: bool) -> None:
        self._url = url
        self._may_be_missing = may_be_missing

    async def read(self) -> tuple[TrainedBundle, ...]:
        """Those whose manifest this release can read: no other is served."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> tuple[TrainedBundle, ...]:
        try:
            files, root = fsspec.core.url_to_fs(self._url)
            if not self._may_be_missing and not files.exists(root):
                raise FileNotFoundError("there is nothing")
            paths = [path for pattern in MANIFESTS for path in files.glob(f"{root.rstrip('/')}/{pattern}")]
            found = [bundle for path in paths if (bundle := _parsed(files.cat_file(path)))]
        except (OSError, ValueError, ImportError) as error:
            message = (
                f"the registry {self._url} cannot be read ({error}), so it is not known which bundles hold the user, "
                f"and nothing was erased: check WINNOW_FEEDBACK_REGISTRY_URL, then call again"
            )
            metadata = {"dependency": "registry", "code": "UNAVAILABLE"}
            raise ServiceError(ErrorReason.DEPENDENCY_UNAVAILABLE, message, metadata=metadata) from error
        return tuple(sorted(found, key=lambda bundle: bundle.version))


def _parsed(content: bytes) -> TrainedBundle | None:
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError:
        return None  # of another schema version, which no service of this release serves
    return TrainedBundle(manifest.version, Watermark.parse(manifest.watermark) if manifest.watermark else None)
