"""The surfaces' files: one YAML file a surface, read at the start and again whenever one of them changes.

`surfaces/default.yaml` documents every field. An unknown surface gets the default's configuration. A file with a
mistake changes nothing: the configuration from before stays at work, and log and status page say what is wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import structlog
import yaml
from pydantic import ValidationError

from services.recommendation.surface import Configuration, Surface
from services.recommendation.telemetry import SURFACES_REFUSED

PACKAGED = Path(__file__).with_name("surfaces")
DEFAULT = "default"

_log = structlog.get_logger()


class SurfaceError(ValueError):
    """A surface's file is wrong; the message names the file, the field and what was expected."""


class Surfaces:
    """The surfaces by name.

    Attributes:
        version: hash of all of them: the `config_version` of every answer.
        refused: what is wrong with the files as they are now; "" when they are at work.
    """

    def __init__(self, surfaces: Mapping[str, Surface]) -> None:
        self.refused = ""
        self._take(surfaces)

    def named(self, name: str) -> Surface:
        """The surface of that name, the default when there is none."""
        return self._surfaces.get(name) or self._surfaces[DEFAULT]

    def configuration(self, name: str, subject: str) -> Configuration:
        """The surface of that name with the version of all, which a request keeps while files may change.

        Args:
            name: of the surface.
            subject: the user or session, who is always in the same arm of the surface's experiment.
        """
        surface = self.named(name)
        if surface.experiment is None:
            return Configuration(surface, self.version)
        arm = surface.experiment.arm_of(subject)
        return Configuration(surface.of_arm(arm), self.version, f"{surface.experiment.name}/{arm}")

    def recorded(self, name: str, arm: str) -> Surface:
        """The surface that a slate was made by: that of its arm, as far as there is such an arm today."""
        surface = self.named(name)
        experiment, _, own = arm.partition("/")
        same = surface.experiment is not None and surface.experiment.name == experiment
        return surface.of_arm(own) if same else surface

    def renew(self, found: Mapping[str, Surface] | SurfaceError) -> None:
        """Take over what the files say now; where that is a mistake, keep it in `refused` and go on as before."""
        try:
            if isinstance(found, SurfaceError):
                raise found
            self._take(found)
        except SurfaceError as error:
            self.refused = str(error)
        else:
            self.refused = ""
        SURFACES_REFUSED.set(bool(self.refused))

    def _take(self, surfaces: Mapping[str, Surface]) -> None:
        if DEFAULT not in surfaces:
            raise SurfaceError(
                f"there is no {DEFAULT}.yaml among the surfaces ({', '.join(sorted(surfaces)) or 'none'})"
            )
        text = "\n".join(f"{name}:{surfaces[name].model_dump_json()}" for name in sorted(surfaces))
        self._surfaces = dict(surfaces)
        self.version = hashlib.sha256(text.encode()).hexdigest()[:12]


def load_surfaces(folder: Path = PACKAGED) -> Surfaces:
    """Read every `*.yaml` of a folder; the file's name is the surface's.

    Raises:
        SurfaceError: the first file that cannot be read or breaks a rule, with all that is wrong with it.
    """
    return Surfaces(_read_all(folder))


async def follow(surfaces: Surfaces, folder: Path, every_s: float) -> NoReturn:
    """Take over the files of a folder whenever one of them changes, for ever."""
    known = None
    while True:
        await asyncio.sleep(every_s)
        now = await asyncio.to_thread(_state, folder)
        if now == known:
            continue
        known, before = now, surfaces.version
        surfaces.renew(await asyncio.to_thread(_attempt, folder))
        if surfaces.refused:
            _log.error("surfaces refused, the old ones stay", error=surfaces.refused, version=before)
        elif surfaces.version != before:
            _log.info("surfaces read again", before=before, version=surfaces.version)


def _attempt(folder: Path) -> dict[str, Surface] | SurfaceError:
    try:
        return _read_all(folder)
    except SurfaceError as error:
        return error


def _read_all(folder: Path) -> dict[str, Surface]:
    return {file.stem: _read(file) for file in sorted(folder.glob("*.yaml"))}


def _state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What tells whether a file was changed or put in the place of another."""
    found = {}
    for file in folder.glob("*.yaml"):
        try:
            stat = file.stat()
        except OSError:  # it goes away at this very moment
            continue
        found[file.name] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return found


def _read(file: Path) -> Surface:
    try:
        return Surface.model_validate(yaml.safe_load(file.read_text("utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SurfaceError(f"{file} cannot be read as YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SurfaceError(f"{file}: {problems}") from error
