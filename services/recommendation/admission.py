"""The first stage of every request: what was asked is checked, and gets the configuration that it keeps to its end."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.recommendation.known_attributes import KnownAttributes
from services.recommendation.queries import Query
from services.recommendation.stages import Journey
from services.recommendation.surfaces import Surfaces


@dataclass(frozen=True, slots=True)
class Admission:
    """Lets a request in."""

    surfaces: Surfaces
    attributes: KnownAttributes

    async def admit(self, query: Query) -> tuple[Query, Journey]:
        """The query with its configuration, whatever happens to the files; and the account of its journey.

        Raises:
            ServiceError: INVALID_FIELD, when a condition does not fit its attribute.
        """
        journey = Journey(query.budget, funnel_ids=query.funnel_ids)
        await self.attributes.check(query.filter.conditions, query.min_watermark, journey)
        whom = query.user_id or query.session_id
        return replace(query, configuration=self.surfaces.configuration(query.surface, whom)), journey
