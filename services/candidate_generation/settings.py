"""Settings of candidate generation."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from services.candidate_generation.sources import (
    content,
    fresh,
    interests,
    neighbours,
    popular,
    retriever,
    search,
    similar,
    trending,
    underexposed,
)
from shared.kernel.config import JSON_TEXT
from shared.kernel.hosting import ListeningSettings

DEFAULT_QUOTAS = {
    retriever.NAME: 200,
    neighbours.NAME: 50,
    popular.NAME: 30,
    trending.NAME: 20,
    fresh.NAME: 20,
    interests.NAME: 50,
    similar.NAME: 100,
    search.NAME: 100,
    content.NAME: 0,
    underexposed.NAME: 0,
}
"""Those of 0 serve surfaces that name them in their quotas."""


class CandidateGenerationSettings(ListeningSettings, prefix="CANDIDATE_GENERATION"):
    """Where candidate generation listens, where its bundles come from and how it retrieves."""

    address: str = Field("127.0.0.1:50052", description="host:port that the service listens on")
    metrics_port: int = Field(51052, ge=0, le=65535, description="port of Prometheus metrics; 0 takes a free one")
    feature_address: str = Field("127.0.0.1:50053", description="host:port of the feature service")
    registry_url: str = Field("", description="folder or fsspec URL of bundles; empty: DATA_DIR/registry")
    bundle_poll_seconds: float = Field(1.0, gt=0, description="how often the registry's pointer is read")
    exact_search: bool = Field(default=False, description="compare with every item instead of asking Annoy")
    quotas: Annotated[dict[str, int], JSON_TEXT] = Field(
        DEFAULT_QUOTAS, description="JSON map of candidates by source, for requests that name no quotas"
    )
    source_timeout_ms: float = Field(50.0, gt=0, description="a source that needs longer is left out of the answer")
    fresh_window_days: float = Field(14.0, gt=0, description="age up to which items are fresh while there is no bundle")
    fresh_pool_items: int = Field(1000, ge=1, description="how many of the newest items the fresh source looks at")
    interests_until_events: int = Field(5, ge=1, description="history length from which interest tags are not needed")
    exposure_budget_events: float = Field(
        20.0, gt=0, description="consuming events, halved every week, from which a new item is not under-exposed"
    )
    recall_check_seconds: float = Field(
        10.0,
        ge=0,
        description="shortest time between two requests whose answer is compared with exact search; 0: none is",
    )
    top_lists_poll_seconds: float = Field(2.0, gt=0, description="how often popular and trending lists are fetched")
    category_lists_poll_seconds: float = Field(15.0, gt=0, description="the same for lists of single categories")

    @field_validator("quotas")
    @classmethod
    def _known_sources(cls, quotas: dict[str, int]) -> dict[str, int]:
        if unknown := sorted(quotas.keys() - DEFAULT_QUOTAS.keys()):
            raise ValueError(f"unknown sources {', '.join(unknown)}; there are {', '.join(sorted(DEFAULT_QUOTAS))}")
        if negative := sorted(name for name, count in quotas.items() if count < 0):
            raise ValueError(f"negative quota of {', '.join(negative)}; 0 switches a source off")
        return quotas
