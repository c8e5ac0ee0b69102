"""Checks a filter's conditions against the types that the catalogue's attributes have.

A condition that no item could ever fulfil, because it compares an attribute with values of another type, is the
caller's mistake and an error that says so. An attribute that no item has is none: catalogues grow, and the next item
may bring it. The condition holds for nothing then, which the answer lists.

The list is kept. It is read again before anything is refused, for a name that it lacks when it is more than a moment
old or the request wants to see a position of the log, and when it is old. A list that is as long as can be read may
lack any name: of those nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from services.recommendation.guarded import Guarded
from services.recommendation.stages import Journey, Lost
from shared.domain.attributes import AttributeKind, AttributeUse, kind_of
from shared.domain.conditions import ORDER, AttributeCondition
from shared.domain.services import ATTRIBUTES_LISTED, Features
from shared.domain.watermark import Watermark
from shared.kernel.errors import FieldViolation, invalid_fields

READ_SHARE = 0.1
"""Part of the budget for looking again before a request is refused by what was known earlier."""


MOMENT_S = 1.0
OLD_S = 60.0


class KnownAttributes:
    """The catalogue's attributes as they were read last."""

    def __init__(self, features: Guarded[Features]) -> None:
        self._features = features
        self._uses: dict[str, AttributeUse] = {}
        self._complete = False
        self._read_s = -math.inf

    async def read(self, budget_ms: float) -> None:
        """Ask the feature store.

        Raises:
            Lost: it does not answer; what was known stays.
        """
        uses = await self._features.ask(lambda port: port.attributes(), budget_ms)
        self._uses = {use.name: use for use in uses}
        self._complete = len(uses) < ATTRIBUTES_LISTED

    async def check(
        self, conditions: tuple[AttributeCondition, ...], min_watermark: Watermark, journey: Journey
    ) -> None:
        """Refuse what cannot be compared, and list what nothing has. Without the feature store nothing is refused.

        Raises:
            ServiceError: INVALID_FIELD with every condition that compares with another type.
        """
        if not conditions:
            return
        now_s = journey.budget.ticks()
        if self._doubts(conditions, min_watermark, now_s - self._read_s):
            try:
                await self.read(journey.budget.share_ms(READ_SHARE))
            except Lost:
                return
            self._read_s = now_s
        if violations := tuple(self._violations(conditions)):
            raise invalid_fields(violations)
        for name in self._unknown(conditions):
            journey.lose(
                "filter", "unknown-attribute", f"no item has an attribute {name!r}; the condition holds for none"
            )

    def _doubts(self, conditions: tuple[AttributeCondition, ...], min_watermark: Watermark, age_s: float) -> bool:
        """Whether the list should be read again."""
        if age_s > OLD_S or any(self._violations(conditions)):
            return True
        return bool(self._unknown(conditions)) and (age_s > MOMENT_S or bool(min_watermark.positions))

    def _unknown(self, conditions: tuple[AttributeCondition, ...]) -> list[str]:
        return [each.name for each in conditions if each.name not in self._uses] if self._complete else []

    def _violations(self, conditions: tuple[AttributeCondition, ...]) -> Iterator[FieldViolation]:
        for place, condition in enumerate(conditions):
            if use := self._uses.get(condition.name):
                yield from _violations(f"filter.conditions[{place}]", condition, use)


def _violations(field: str, condition: AttributeCondition, use: AttributeUse) -> Iterator[FieldViolation]:
    """What the condition gets wrong about an attribute."""
    what = f"attribute {use.name!r} is {_named(use.items)} in the catalogue"
    if condition.comparison in ORDER and AttributeKind.NUMBER not in use.items:
        told = f"{what}, and {condition.comparison.name} compares numbers; use EQUAL, NOT_EQUAL, IN or NOT_IN"
        yield FieldViolation(f"{field}.comparison", told)
        return
    for place, operand in enumerate(condition.operands):
        kind = kind_of(operand)
        if condition.comparison in ORDER and kind is not AttributeKind.NUMBER:
            told = f"{condition.comparison.name} compares numbers and {operand!r} is {kind.value}; give a number"
            yield FieldViolation(f"{field}.operands[{place}]", told)
        elif kind not in use.items:
            told = f"{what} and {operand!r} is {kind.value}; compare it with {_named(use.items)}"
            yield FieldViolation(f"{field}.operands[{place}]", told)


def _named(kinds: Iterable[AttributeKind]) -> str:
    return " or ".join(sorted(kind.value for kind in kinds))
