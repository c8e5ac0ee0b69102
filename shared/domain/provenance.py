"""Where an answer comes from: versions, freshness, lost quality, and where the time and the candidates went."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Degradation:
    """One loss of quality.

    Attributes:
        stage: stage, source or dependency that lost it, kebab-case.
        reason: kebab-case, e.g. `unavailable`, `deadline`, `stale`.
        detail: one sentence for a person: what was used instead.
    """

    stage: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StageTiming:
    """Wall time of one stage in milliseconds."""

    stage: str
    duration_ms: float


@dataclass(frozen=True, slots=True)
class StageCount:
    """What one component did: candidates that entered (or that a source added) and that it removed.

    Attributes:
        item_ids: what a source added or a filter removed; empty unless asked for.
    """

    component: str
    entered: int
    removed: int = 0
    item_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """The header of an answer. Empty strings: that part had no share in it."""

    model_version: str = ""
    index_version: str = ""
    config_version: str = ""
    watermark: str = ""
    degraded: tuple[Degradation, ...] = ()
    stage_timings: tuple[StageTiming, ...] = ()
    stage_counts: tuple[StageCount, ...] = ()
    request_id: str = ""

    def without_ids(self) -> Provenance:
        """The header as the log keeps it: what a caller looked at once is not kept with the slate."""
        return replace(self, stage_counts=tuple(replace(count, item_ids=()) for count in self.stage_counts))
