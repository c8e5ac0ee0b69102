"""What an operator wants of a surface whatever the models say: pin, boost, bury or block, from a moment to another.

| do    | what happens to what the rule names                                                              |
|-------|--------------------------------------------------------------------------------------------------|
| pin   | it stands at a fixed position; named items come into the slate even if no source gave them         |
| boost | its value is multiplied by a factor above 1                                                        |
| bury  | its value is multiplied by a factor below 1                                                        |
| block | it is not shown on the surface                                                                     |

Boost and bury never change the sign of a value, so what the user would regret does not rise above what they would
like; a pin is the operator's word and does. No rule shows what a filter removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from shared.domain.conditions import AttributeCondition, Comparison
from shared.domain.items import Item, Scalar

_COMPARISONS = {comparison.name.lower().replace("_", "-"): comparison for comparison in Comparison}
_OF_NUMBERS = {Comparison.LESS, Comparison.LESS_OR_EQUAL, Comparison.GREATER, Comparison.GREATER_OR_EQUAL}
_OF_SETS = {Comparison.IN, Comparison.NOT_IN}


class Deed(StrEnum):
    """What a rule does."""

    PIN = "pin"
    BOOST = "boost"
    BURY = "bury"
    BLOCK = "block"


def _known_comparison(text: str) -> str:
    if text not in _COMPARISONS:
        raise ValueError(f"unknown comparison {text!r}; known are {', '.join(_COMPARISONS)}")
    return text


class AttributeRule(BaseModel):
    """One comparison of an attribute: `{name: brand, is: in, values: [a, b]}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    name: str = Field(min_length=1, max_length=128)
    comparison: Annotated[str, AfterValidator(_known_comparison)] = Field(default="equal", alias="is")
    values: tuple[bool | float | str, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        comparison = _COMPARISONS[self.comparison]
        if comparison not in _OF_SETS and len(self.values) != 1:
            raise ValueError(f"{self.comparison} compares with one value and not with {len(self.values)}")
        if comparison in _OF_NUMBERS and not all(type(value) is float for value in self.values):
            raise ValueError(f"{self.comparison} compares numbers and not {self.values[0]!r}")
        return self

    @cached_property
    def condition(self) -> AttributeCondition:
        """As filters use it."""
        operands: tuple[Scalar, ...] = self.values
        return AttributeCondition(self.name, _COMPARISONS[self.comparison], operands)


class BusinessRule(BaseModel):
    """One rule. What it names must fulfil everything that is given of `items`, `categories` and `attributes`.

    Attributes:
        items: one of these.
        categories: in at least one of these.
        attributes: all of these hold.
        factor: of boost (above 1) and bury (below 1).
        position: of the first pinned entry, from 0; the next ones follow it.
        count: entries that a pin by category or attribute takes, the best ranked first; 0 = of named items all, else 1.
        begins, ends: the rule works from `begins` on and before `ends`; None: always, for ever.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=64)
    do: Deed
    items: tuple[str, ...] = Field(default=(), max_length=1000)
    categories: tuple[str, ...] = Field(default=(), max_length=1000)
    attributes: tuple[AttributeRule, ...] = Field(default=(), max_length=64)
    factor: float | None = Field(default=None, gt=0, le=1000)
    position: int | None = Field(default=None, ge=0, lt=200)
    count: int = Field(default=0, ge=0, le=200)
    begins: AwareDatetime | None = Field(default=None, alias="from")
    ends: AwareDatetime | None = Field(default=None, alias="until")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not (self.items or self.categories or self.attributes):
            raise ValueError(f"rule {self.name} names nothing; give items, categories or attributes")
        if self.begins and self.ends and self.ends <= self.begins:
            raise ValueError(f"rule {self.name} ends before it begins")
        if (self.factor is None) == (self.do in {Deed.BOOST, Deed.BURY}):
            raise ValueError(f"rule {self.name}: boost and bury need a factor, pin and block have none")
        if (self.do is Deed.BOOST and not self._factor > 1) or (self.do is Deed.BURY and not self._factor < 1):
            raise ValueError(
                f"rule {self.name}: the factor of boost is above 1 and that of bury below, not {self.factor}"
            )
        if self.do is not Deed.PIN and (self.position is not None or self.count):
            raise ValueError(f"rule {self.name}: only a pin has a position and a count")
        return self

    @property
    def _factor(self) -> float:
        return 1.0 if self.factor is None else self.factor

    @property
    def label(self) -> str:
        """How explanations call it."""
        return f"{self.do}:{self.name}"

    @property
    def needs_content(self) -> bool:
        """Whether the item itself (not its id alone) must be looked at."""
        return bool(self.categories or self.attributes)

    def works_at(self, time_ms: int) -> bool:
        """Whether the rule holds at this moment."""
        return (self._begins_ms is None or self._begins_ms <= time_ms) and (
            self._ends_ms is None or time_ms < self._ends_ms
        )

    def names(self, item_id: str, item: Item | None) -> bool:
        """Whether the rule is about an item; of an item without content only its id is known."""
        if self.items and item_id not in self._ids:
            return False
        if item is None:
            return not self.needs_content
        if self.categories and self._categories.isdisjoint(item.categories):
            return False
        return all(each.condition.holds(item) for each in self.attributes)

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(self.items)

    @cached_property
    def _categories(self) -> frozenset[str]:
        return frozenset(self.categories)

    @cached_property
    def _begins_ms(self) -> float | None:
        return self.begins.timestamp() * 1e3 if self.begins else None

    @cached_property
    def _ends_ms(self) -> float | None:
        return self.ends.timestamp() * 1e3 if self.ends else None


def working(rules: Sequence[BusinessRule], time_ms: int, *deeds: Deed) -> tuple[BusinessRule, ...]:
    """The rules of these kinds that hold at a moment, in order."""
    return tuple(rule for rule in rules if rule.do in deeds and rule.works_at(time_ms))
