"""Follows a registry's pointer: what is published gets verified, loaded beside the old bundle and swapped in.

The old bundle serves until the new one is installed, and for as long as the new one is refused. A refused bundle keeps
its reason in `status` and is tried again when the pointer moves, or after `retry_refused_ms` (a broken download heals).
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from safetensors import SafetensorError

from shared.kernel.clock import Clock
from shared.model.bundle import Bundle, BundleError, open_bundle
from shared.model.registry import Registry, RegistryError

T = TypeVar("T")

# What a damaged or foreign bundle makes its loaders raise: missing arrays, shapes that differ, truncated files.
_REFUSALS = (BundleError, ValueError, KeyError, IndexError, TypeError, RuntimeError, SafetensorError)


@dataclass(frozen=True, slots=True)
class BundleSource:
    """Where bundles come from and how often to look.

    Attributes:
        cache_dir: for local copies; of this watcher alone, because it removes the versions that it left behind.
        poll_seconds: between two looks at the pointer.
        retry_refused_ms: a refused version is tried again after this time.
    """

    registry: Registry
    cache_dir: Path
    poll_seconds: float = 1.0
    retry_refused_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class BundleStatus:
    """What is served and what was not taken.

    Attributes:
        version: the installed bundle; "" before the first.
        refused_version, refused_reason: the bundle that the pointer names and that was refused, and why; "" when none.
        registry_error: why the registry could not be read at the last look; "" when it could.
        checked_ms: when the pointer was last read.
    """

    version: str = ""
    refused_version: str = ""
    refused_reason: str = ""
    registry_error: str = ""
    checked_ms: int = 0


class BundleWatcher(Generic[T]):
    """Keeps one loaded bundle current.

    Args:
        source: registry, cache and intervals.
        load: makes the serving object of a verified bundle; blocking, runs in a thread.
        install: warms it up and swaps the one reference; runs on the event loop, the old one serves meanwhile.
        clock: Unix milliseconds.
        report: is told every status that differs from the one before (beyond `checked_ms`): log and count there.
    """

    def __init__(
        self,
        source: BundleSource,
        load: Callable[[Bundle], T],
        install: Callable[[Bundle, T], Awaitable[None]],
        clock: Clock,
        report: Callable[[BundleStatus], None],
    ) -> None:
        self._source = source
        self._load = load
        self._install = install
        self._clock = clock
        self._report = report
        self._refused_ms = 0
        self._previous = ""
        self.status = BundleStatus()

    async def run(self) -> None:
        """Look at the pointer for ever."""
        while True:
            await self.check()
            await asyncio.sleep(self._source.poll_seconds)

    async def check(self) -> bool:
        """Look once; True when a new bundle was installed."""
        status = replace(self.status, checked_ms=self._clock(), registry_error="")
        try:
            version = await asyncio.to_thread(self._source.registry.current)
            if version is None or version == self.status.version:
                self._tell(replace(status, refused_version="", refused_reason=""))
                return False
            if version == status.refused_version and self._clock() < self._refused_ms + self._source.retry_refused_ms:
                self._tell(status)
                return False
            await self._take(version)
        except RegistryError as error:
            self._tell(replace(status, registry_error=str(error)))
            return False
        except _REFUSALS as error:
            self._refused_ms = self._clock()
            self._tell(replace(status, refused_version=version or "", refused_reason=_reason(error)))
            return False
        except OSError as error:  # the cache's disk, not the bundle: try again at the next look
            self._tell(replace(status, registry_error=f"bundle cache {self._source.cache_dir}: {error}"))
            return False
        self._tell(BundleStatus(version=version, checked_ms=self._clock()))
        return True

    async def _take(self, version: str) -> None:
        bundle, loaded = await asyncio.to_thread(self._read, version)
        await self._install(bundle, loaded)
        await asyncio.to_thread(self._prune, {version, self._previous})
        self._previous = version

    def _read(self, version: str) -> tuple[Bundle, T]:
        bundle = open_bundle(self._source.registry.fetch(version, self._source.cache_dir))
        return bundle, self._load(bundle)

    def _prune(self, keep: set[str]) -> None:
        """Requests under way may still read the version before; those before it are done with."""
        for folder in self._source.cache_dir.iterdir():
            if folder.is_dir() and folder.name not in keep and not folder.name.startswith("."):
                shutil.rmtree(folder, ignore_errors=True)

    def _tell(self, status: BundleStatus) -> None:
        told = replace(self.status, checked_ms=status.checked_ms)
        self.status = status
        if status != told:
            self._report(status)


def _reason(error: Exception) -> str:
    """The error in one line; a bare KeyError would say nothing but a name."""
    text = " ".join(str(error).split())
    return text if isinstance(error, BundleError) else f"it cannot be loaded ({type(error).__name__}: {text})"
