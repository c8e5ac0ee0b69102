"""Which arm of a surface's experiment somebody is in: always the same one, and nobody needs to remember it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"


class Arm(BaseModel):
    """One arm.

    Attributes:
        share: of the users, in proportion to the other arms.
        changes: what differs from the surface, field by field, as in its file; nothing: the control.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=NAME, max_length=64)
    share: float = Field(gt=0)
    changes: Mapping[str, Any] = Field(default_factory=dict)


def _distinct(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    names = [arm.name for arm in arms]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"arms are named twice: {', '.join(repeated)}")
    return arms


class Experiment(BaseModel):
    """Arms that users are divided among. Another name divides them anew."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(pattern=NAME, max_length=64)
    arms: Annotated[tuple[Arm, ...], AfterValidator(_distinct)] = Field(min_length=2, max_length=20)

    def arm_of(self, subject: str) -> str:
        """The arm of a user or session; of nobody in particular the first."""
        if not subject:
            return self.arms[0].name
        digest = hashlib.blake2b(f"{self.name}\n{subject}".encode(), digest_size=8).digest()
        left = int.from_bytes(digest) / 2**64 * sum(arm.share for arm in self.arms)
        for arm in self.arms:
            left -= arm.share
            if left < 0:
                return arm.name
        return self.arms[-1].name


def merged(whole: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The whole with the changes, section by section."""
    out = dict(whole)
    for name, change in changes.items():
        known = out.get(name)
        out[name] = merged(known, change) if isinstance(known, Mapping) and isinstance(change, Mapping) else change
    return out
