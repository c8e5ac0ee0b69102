"""What callers ask and what they get: the front's nouns."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from services.recommendation.budget import Budget
from services.recommendation.surface import UNCONFIGURED, Configuration
from shared.domain.conditions import EVERYTHING, ItemFilter
from shared.domain.events import Event, EventType
from shared.domain.provenance import Provenance
from shared.domain.ranking import RequestContext
from shared.domain.watermark import Watermark

DEFAULT_PAGE_SIZE = 10
LARGEST_PAGE_SIZE = 200
BEGINNING = Watermark()


def page_size_of(asked: int) -> int:
    """The page size that an answer has: 0 is the default, too large is coerced (AIP-158)."""
    return min(asked or DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE)


@dataclass(frozen=True, slots=True)
class Query:
    """One request for items. Look-ups (similar, trending, search) use only what they need of it.

    Attributes:
        user_id: "" for an anonymous session.
        session_id, session_events: the anonymous session; events oldest first as the client sent them.
        context: `time_ms` is the moment of the answer, never 0.
        page_token: "" asks for a new slate.
        candidate_item_ids: rank exactly these instead of retrieving; empty: retrieve.
        min_watermark: the answer's state must include this position.
        funnel_ids: also name the items behind the counts of the header.
        configuration, seed: set by the front when it begins to answer; every random choice comes from the seed.
    """

    budget: Budget
    context: RequestContext
    user_id: str = ""
    session_id: str = ""
    session_events: tuple[Event, ...] = ()
    surface: str = ""
    page_size: int = DEFAULT_PAGE_SIZE
    page_token: str = ""
    filter: ItemFilter = EVERYTHING
    candidate_item_ids: tuple[str, ...] = ()
    explain: bool = False
    min_watermark: Watermark = BEGINNING
    request_id: str = ""
    funnel_ids: bool = False
    configuration: Configuration = UNCONFIGURED
    seed: int = 0

    @property
    def time_ms(self) -> int:
        """The moment that the answer is for, Unix milliseconds."""
        return self.context.time_ms


@dataclass(frozen=True, slots=True)
class ItemSource:
    """One source of an entry and the entry's rank there, from 1."""

    source: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class ActionContribution:
    """One action's part of a score.

    Attributes:
        parts: additive parts of the logit by name; empty when they were not asked of the ranker.
        calibration_scale, calibration_offset: probability = sigmoid(scale · Σ parts + offset).
    """

    event_type: EventType | int
    probability: float
    weight: float
    parts: tuple[tuple[str, float], ...] = ()
    calibration_scale: float = 1.0
    calibration_offset: float = 0.0


class InfluenceMethod(IntEnum):
    """How the events that speak for an entry were found. Codes equal `winnow.v1.InfluenceMethod`."""

    NONE = 0
    LEAVE_ONE_OUT = 1
    LIKENESS = 2


@dataclass(frozen=True, slots=True)
class Influence:
    """An event of the history that speaks for an entry.

    Attributes:
        influence: what the score would lose without it; by likeness only comparable within the entry.
        place: of the event in the slate's history.
    """

    item_id: str
    event_id: str
    influence: float
    place: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a score came about: (Σ probability · weight) · Π factors.

    Attributes:
        actions: empty when the order is retrieval's own; the score is then 1 / (1 + place in that order) · Π factors.
        adjustments: (rule, factor) in order.
        expected_rating: None when the bundle saw no ratings.
        because_of: strongest first, as `influence_method` found it.
    """

    sentence: str
    actions: tuple[ActionContribution, ...] = ()
    adjustments: tuple[tuple[str, float], ...] = ()
    expected_rating: float | None = None
    because_of: tuple[Influence, ...] = ()
    influence_method: InfluenceMethod = InfluenceMethod.NONE


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an answer; `score` is finite and comparable within the answer."""

    item_id: str
    score: float
    position: int
    sources: tuple[ItemSource, ...] = ()
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A page of a slate; "" as `next_page_token` means that nothing follows."""

    provenance: Provenance
    recommendation_id: str
    entries: tuple[Entry, ...]
    next_page_token: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """An answer of one page: similar, trending or found items."""

    provenance: Provenance
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A served slate as it was and as it comes out of its recorded inputs now.

    Attributes:
        differences: one sentence each; empty when the same items came out in the same order with the same scores.
    """

    provenance: Provenance
    served: tuple[Entry, ...]
    replayed: tuple[Entry, ...]
    differences: tuple[str, ...]
    served_ms: int

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not self.differences
