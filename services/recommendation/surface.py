"""What can be said about one surface: how much each action is worth, how diverse a slate is, its rules, its chances.

`surfaces/default.yaml` documents every field; `surfaces.py` reads the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from services.recommendation.business_rules import BusinessRule
from services.recommendation.experiments import Experiment, merged
from services.recommendation.exploration_settings import Exploration
from shared.domain.events import EventType

Cap = Annotated[int, Field(ge=0)]


class Diversity(BaseModel):
    """How much a repetition costs.

    The n-th entry of the same creator is worth max(decay^n, floor) of its value, counted from 0; the same goes for
    the first category. A decay of 1 switches the rule off.

    Attributes:
        mmr_strength: an entry is worth 1 − strength · likeness of its value, where likeness is the cosine of its
            categories and tags with those of the most alike entry above it. 0 switches the rule off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    creator_decay: float = Field(default=1.0, gt=0, le=1)
    creator_floor: float = Field(default=0.1, gt=0, le=1)
    category_decay: float = Field(default=1.0, gt=0, le=1)
    category_floor: float = Field(default=0.1, gt=0, le=1)
    mmr_strength: float = Field(default=0.0, ge=0, le=0.99)


class Caps(BaseModel):
    """How many entries of one kind come before everything else had its turn; 0 = no cap.

    Attributes:
        per_attribute: by name of an attribute: entries with the same value of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    per_creator: Cap = 0
    per_category: Cap = 0
    per_attribute: Mapping[str, Cap] = Field(default_factory=dict)


class Surface(BaseModel):
    """The configuration of one surface.

    Attributes:
        weights: value of one action of each kind by its name; negative for what the user would regret. Kinds that are
            not named are worth nothing.
        quotas: candidates asked of each retrieval source; empty: the sources' own.
        ranked_candidates: candidates that the ranker scores at most.
        exclude_latest_served: how many of the user's latest served items are left out; 0 shows unclicked ones again.
        rules: business rules, in order.
        experiment: divides the users among variants of the surface.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weights: Mapping[str, float]
    quotas: Mapping[str, int] = Field(default_factory=dict)
    ranked_candidates: int = Field(default=300, ge=1, le=5000)
    exclude_latest_served: int = Field(default=0, ge=0)
    diversity: Diversity = Diversity()
    caps: Caps = Caps()
    exploration: Exploration = Exploration()
    rules: tuple[BusinessRule, ...] = ()
    experiment: Experiment | None = None

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

    @field_validator("rules")
    @classmethod
    def _named_once(cls, rules: tuple[BusinessRule, ...]) -> tuple[BusinessRule, ...]:
        names = [rule.name for rule in rules]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"rules are named twice: {', '.join(repeated)}; every rule needs a name of its own")
        return rules

    @model_validator(mode="after")
    def _with_sound_arms(self) -> Self:
        """Whatever an arm changes must be a surface, too."""
        for arm in self.experiment.arms if self.experiment else ():
            if "experiment" in arm.changes:
                raise ValueError(f"arm {arm.name}: an arm cannot have an experiment of its own")
            try:
                self.of_arm(arm.name)
            except ValidationError as error:
                problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
                raise ValueError(f"arm {arm.name}: {problems}") from error
        return self

    def of_arm(self, name: str) -> Surface:
        """The surface as an arm changes it; itself where there is no such arm."""
        return self._arms.get(name) or self._armed(name)

    def _armed(self, name: str) -> Surface:
        arms = self.experiment.arms if self.experiment else ()
        changes = next((arm.changes for arm in arms if arm.name == name), None)
        if changes is None:
            return self
        self._arms[name] = Surface.model_validate(merged(self.model_dump(exclude={"experiment"}), changes))
        return self._arms[name]

    @cached_property
    def _arms(self) -> dict[str, Surface]:
        return {}

    def weights_of(self, actions: tuple[int, ...]) -> tuple[float, ...]:
        """The weight of each of the ranker's actions, in its order."""
        return tuple(self._weights_by_code.get(action, 0.0) for action in actions)

    @cached_property
    def _weights_by_code(self) -> dict[int, float]:
        return {int(EventType.from_label(label)): weight for label, weight in self.weights.items()}


@dataclass(frozen=True, slots=True)
class Configuration:
    """The configuration that a whole request goes by, whatever happens to the files meanwhile.

    Attributes:
        surface: of the surface that was asked for.
        version: hash of all surfaces: the `config_version` of the answer.
        arm: of the surface's experiment, as `experiment/arm`; "" when there is none.
    """

    surface: Surface
    version: str = ""
    arm: str = ""


UNCONFIGURED = Configuration(Surface(weights={"click": 1}))
"""Of a request before the front has looked up its surface."""
