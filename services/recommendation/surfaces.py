"""One YAML file a surface: how much each action is worth, how many are ranked, how diverse a slate is.

`default.yaml` beside this module documents every field. An unknown surface gets the default's configuration.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from shared.domain.events import EventType

PACKAGED = Path(__file__).with_name("surfaces")
DEFAULT = "default"


class SurfaceError(ValueError):
    """A surface's file is wrong; the message names the file, the field and what was expected."""


class Diversity(BaseModel):
    """How much a repeated creator or category costs.

    The n-th entry of the same creator is worth max(decay^n, floor) of its value, counted from 0; the same goes for
    the first category. A decay of 1 switches the rule off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    creator_decay: float = Field(default=1.0, gt=0, le=1)
    creator_floor: float = Field(default=0.1, gt=0, le=1)
    category_decay: float = Field(default=1.0, gt=0, le=1)
    category_floor: float = Field(default=0.1, gt=0, le=1)


class Caps(BaseModel):
    """How many entries of one creator or first category come before everything else had its turn; 0 = no cap."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    per_creator: int = Field(default=0, ge=0)
    per_category: int = Field(default=0, ge=0)


class Surface(BaseModel):
    """The configuration of one surface.

    Attributes:
        weights: value of one action of each kind by its name; negative for what the user would regret. Kinds that are
            not named are worth nothing.
        quotas: candidates asked of each retrieval source; empty: the sources' own.
        ranked_candidates: candidates that the ranker scores at most.
        exclude_latest_served: how many of the user's latest served items are left out; 0 shows unclicked ones again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weights: Mapping[str, float]
    quotas: Mapping[str, int] = Field(default_factory=dict)
    ranked_candidates: int = Field(default=300, ge=1, le=5000)
    exclude_latest_served: int = Field(default=0, ge=0)
    diversity: Diversity = Diversity()
    caps: Caps = Caps()

    @field_validator("weights")
    @classmethod
    def _known_and_finite(cls, weights: Mapping[str, float]) -> Mapping[str, float]:
        for label, weight in weights.items():
            EventType.from_label(label)
            if not abs(weight) < float("inf"):
                raise ValueError(f"the weight of {label} is {weight}; give a finite number")
        if not any(weight > 0 for weight in weights.values()):
            raise ValueError("no action has a positive weight, so nothing could ever be worth showing")
        return weights

    def weights_of(self, actions: tuple[int, ...]) -> tuple[float, ...]:
        """The weight of each of the ranker's actions, in its order."""
        return tuple(self._weights_by_code.get(action, 0.0) for action in actions)

    @cached_property
    def _weights_by_code(self) -> dict[int, float]:
        return {int(EventType.from_label(label)): weight for label, weight in self.weights.items()}


class Surfaces:
    """The surfaces by name.

    Attributes:
        version: hash of all of them: the `config_version` of every answer.
    """

    def __init__(self, surfaces: Mapping[str, Surface]) -> None:
        if DEFAULT not in surfaces:
            raise SurfaceError(
                f"there is no {DEFAULT}.yaml among the surfaces ({', '.join(sorted(surfaces)) or 'none'})"
            )
        self._surfaces = dict(surfaces)
        text = "\n".join(f"{name}:{surfaces[name].model_dump_json()}" for name in sorted(surfaces))
        self.version = hashlib.sha256(text.encode()).hexdigest()[:12]

    def named(self, name: str) -> Surface:
        """The surface of that name, the default when there is none."""
        return self._surfaces.get(name) or self._surfaces[DEFAULT]


def load_surfaces(folder: Path = PACKAGED) -> Surfaces:
    """Read every `*.yaml` of a folder; the file's name is the surface's.

    Raises:
        SurfaceError: the first file that cannot be read or breaks a rule, with all that is wrong with it.
    """
    files = sorted(folder.glob("*.yaml"))
    return Surfaces({file.stem: _read(file) for file in files})


def _read(file: Path) -> Surface:
    try:
        return Surface.model_validate(yaml.safe_load(file.read_text("utf-8")) or {})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SurfaceError(f"{file} cannot be read as YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise SurfaceError(f"{file}: {problems}") from error
