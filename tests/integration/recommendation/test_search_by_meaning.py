"""SearchItems through the real log, feature store, candidate generation and text encoder."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.recommendation.queries import Listing
from shared.domain.items import Item
from tests.integration.recommendation.real_services import Running, now, running

FILMS = [
    Item("jurassic", title="Jurassic Park", description="Dinosaurs escape on an island"),
    Item("titanic", title="Titanic", description="A love story on a sinking ship"),
    Item("heat", title="Heat", description="A policeman hunts a bank robber in Los Angeles"),
]


async def found(services: Running, user_id: str, words: str) -> Listing:
    """The answer when the films have their vectors and the encoder its weights."""
    while True:
        listing = await services.recommender.search(now(user_id), words)
        if not listing.provenance.degraded:
            return listing
        await asyncio.sleep(0.05)


async def test_items_are_found_by_meaning_in_any_language_without_a_common_word(tmp_path: Path) -> None:
    async with running(tmp_path, films=0, encoding=True) as services:
        await services.feedback.intake.upsert_items(FILMS)

        reptiles = await found(services, "", "prehistoric reptiles")
        romance = await found(services, "", "eine Romanze auf hoher See")
        crime = await found(services, "", "un voleur et la police")

    assert [listing.entries[0].item_id for listing in (reptiles, romance, crime)] == ["jurassic", "titanic", "heat"]


async def test_a_user_gets_the_matches_in_personal_order(tmp_path: Path) -> None:
    async with running(tmp_path, films=0, encoding=True) as services:
        await services.feedback.intake.upsert_items(FILMS)

        await found(services, "ann", "prehistoric reptiles")

        assert services.ranking.requests[-1].candidates.item_ids[0] == "jurassic"
