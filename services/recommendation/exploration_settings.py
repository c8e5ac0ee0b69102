"""How much of a surface is left to chance: which slots, by which method, among which items."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Method(StrEnum):
    """EPSILON: with a fixed probability, any of the under-exposed candidates, each as likely as the other.

    THOMPSON: each slot, every time, the one of greatest success rate drawn from what is known of each (Thompson 1933).
    """

    EPSILON = "epsilon"
    THOMPSON = "thompson"


class Exploration(BaseModel):
    """The slots of a page that go to under-exposed items.

    Attributes:
        slots: how many entries of the first page are left to chance; 0 = none.
        first_position: position of the first such entry, from 0.
        every: the next ones stand so many positions below it each.
        probability: that a slot is explored at all; else it keeps its ranked entry.
        sources: a slot chooses among candidates of these sources; empty: of all.
        exposure_budget: an item shown as often as this (halved every week) is not under-exposed any more.
        success_budget: nor is one that was consumed as often as this.
        candidates: under-exposed candidates that a slot chooses from at most, the best ranked ones.
        prior_successes, prior_failures: of the success rate before anything is known (Thompson).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    slots: int = Field(default=0, ge=0, le=20)
    method: Method = Method.EPSILON
    first_position: int = Field(default=3, ge=0, lt=200)
    every: int = Field(default=5, ge=1, lt=200)
    probability: float = Field(default=0.1, gt=0, le=1)
    sources: tuple[str, ...] = ()
    exposure_budget: float = Field(default=100.0, gt=0)
    success_budget: float = Field(default=20.0, gt=0)
    candidates: int = Field(default=20, ge=1, le=50)
    prior_successes: float = Field(default=1.0, gt=0)
    prior_failures: float = Field(default=9.0, gt=0)

    def positions(self, page_size: int) -> list[int]:
        """Positions of the slots on a page."""
        return list(range(self.first_position, page_size, self.every))[: self.slots]
