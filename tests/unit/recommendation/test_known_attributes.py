"""Conditions are checked against the types of the catalogue's attributes before anything else happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.recommendation.budget import Budget
from shared.domain.attributes import AttributeKind, AttributeUse
from shared.domain.conditions import AttributeCondition, Comparison, ItemFilter
from shared.domain.items import Item
from shared.domain.services import ATTRIBUTES_LISTED
from shared.domain.watermark import Watermark
from shared.kernel.errors import ServiceError
from tests.fakes_services import FakeFeatures, down
from tests.unit.recommendation.front import World, ask, film, item_ids, losses, opened, replaced


def filtered(*conditions: AttributeCondition) -> ItemFilter:
    """Items that fulfil all of these."""
    return ItemFilter(conditions=conditions)


def condition(name: str, comparison: Comparison, *operands: str | float | bool) -> AttributeCondition:
    """One comparison."""
    return AttributeCondition(name, comparison, operands)


def worlds() -> World:
    """Films with a year (a number), a colour (true or false) and a rating (a text)."""
    return World(tuple(replace(each, attributes={**each.attributes, "rating": "PG"}) for each in map(film, range(60))))


async def refusal(world: World, wanted: ItemFilter) -> ServiceError:
    """The error of a request with a filter."""
    async with opened(world) as app:
        with pytest.raises(ServiceError) as raised:
            await app.recommender.recommend(ask(filter=wanted))
    return raised.value


@pytest.mark.parametrize(
    ("wanted", "field", "words"),
    [
        (
            condition("rating", Comparison.GREATER, 3.0),
            "filter.conditions[0].comparison",
            "attribute 'rating' is text in the catalogue, and GREATER compares numbers; use EQUAL, NOT_EQUAL, IN or",
        ),
        (
            condition("year", Comparison.EQUAL, "1960"),
            "filter.conditions[0].operands[0]",
            "attribute 'year' is a number in the catalogue and '1960' is text; compare it with a number",
        ),
        (
            condition("year", Comparison.LESS, "1960"),
            "filter.conditions[0].operands[0]",
            "LESS compares numbers and '1960' is text; give a number",
        ),
        (
            condition("year", Comparison.IN, 1960.0, True),
            "filter.conditions[0].operands[1]",
            "attribute 'year' is a number in the catalogue and True is true or false; compare it with a number",
        ),
        (
            condition("colour", Comparison.EQUAL, 1.0),
            "filter.conditions[0].operands[0]",
            "attribute 'colour' is true or false in the catalogue and 1.0 is a number; compare it with true or false",
        ),
    ],
    ids=["a text is not greater", "a number is no text", "less than a text", "one of several", "one is not true"],
)
async def test_a_condition_of_another_type_is_one_error_with_attribute_type_and_remedy(
    wanted: AttributeCondition, field: str, words: str
) -> None:
    error = await refusal(worlds(), filtered(wanted))

    assert error.reason.name == "INVALID_FIELD"
    assert [violation.field for violation in error.violations] == [field]
    assert words in error.violations[0].description


async def test_all_conditions_that_do_not_fit_are_told_at_once() -> None:
    wanted = filtered(
        condition("year", Comparison.EQUAL, "x"),
        condition("colour", Comparison.EQUAL, True),
        condition("rating", Comparison.LESS, 1.0),
    )

    error = await refusal(worlds(), wanted)

    assert [violation.field for violation in error.violations] == [
        "filter.conditions[0].operands[0]",
        "filter.conditions[2].comparison",
    ]


async def test_look_ups_are_checked_too() -> None:
    query = ask("", filter=filtered(condition("year", Comparison.EQUAL, "x")))

    async with opened(worlds()) as app:
        for asked in (
            app.recommender.similar(query, ["film-001"]),
            app.recommender.trending(query, ""),
            app.recommender.search(query, "words"),
        ):
            with pytest.raises(ServiceError, match="'year' is a number"):
                await asked


async def test_an_attribute_that_no_item_has_is_no_error_and_the_answer_says_why_it_is_empty() -> None:
    async with opened(worlds()) as app:
        answer = await app.recommender.recommend(ask(filter=filtered(condition("yaer", Comparison.GREATER, 1960.0))))

    assert answer.entries == ()
    assert losses(answer) == {("filter", "unknown-attribute")}
    assert "no item has an attribute 'yaer'" in answer.provenance.degraded[0].detail


async def test_an_attribute_on_which_items_disagree_may_be_compared_with_either_type() -> None:
    world = worlds()
    world.features.states |= FakeFeatures.of([Item("new", attributes={"year": "unknown"})]).states
    numbers = filtered(condition("year", Comparison.GREATER, 1980.0))

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(filter=numbers))
        await app.recommender.recommend(ask(filter=filtered(condition("year", Comparison.EQUAL, "unknown"))))

    assert len(answer.entries) == 10


async def test_a_type_that_came_a_moment_ago_is_looked_up_before_anything_is_refused() -> None:
    world = worlds()
    texts = filtered(condition("year", Comparison.EQUAL, "unknown"))

    async with opened(world) as app:
        await app.recommender.recommend(ask(filter=filtered(condition("year", Comparison.GREATER, 1980.0))))
        new = FakeFeatures.of([Item("new", attributes={"year": "unknown"})])
        world.features.states |= new.states
        world.candidates.sources["popular"] = ("new",)
        world.candidates.catalogue["new"] = Item("new", attributes={"year": "unknown"})
        answer = await app.recommender.recommend(ask(filter=texts))

    assert item_ids(answer) == ["new"]


async def test_without_the_feature_store_no_condition_is_refused() -> None:
    world = worlds()
    world.features.error = down("feature")

    async with opened(world) as app:
        answer = await app.recommender.recommend(ask(filter=filtered(condition("year", Comparison.EQUAL, "x"))))

    assert ("hydrate", "unavailable") in losses(answer)


async def test_conditions_that_fit_cost_one_look_at_the_catalogue_and_then_none() -> None:
    world = worlds()
    wanted = filtered(condition("year", Comparison.GREATER, 1980.0))

    async with opened(world) as app:
        await app.recommender.recommend(ask(filter=wanted))
        first = world.features.calls
        await app.recommender.recommend(ask(filter=wanted))
        await app.recommender.recommend(ask())

    assert first - 1 == (world.features.calls - first) / 2


class ManyAttributes(FakeFeatures):
    """A catalogue with as many attributes as are listed at most, and a count of how often they were read."""

    read = 0

    async def attributes(self) -> tuple[AttributeUse, ...]:
        self.read += 1
        number = {AttributeKind.NUMBER: 1}
        return tuple(AttributeUse(f"number-{place}", number) for place in range(ATTRIBUTES_LISTED))


@pytest.mark.parametrize("name", ["number-7", "of-which-nothing-is-known"])
async def test_a_long_list_of_attributes_is_not_read_for_every_request_and_again_when_it_is_old(name: str) -> None:
    features, now_s = ManyAttributes(), [100.0]
    world = World()
    world.features = features
    wanted = filtered(condition(name, Comparison.GREATER, 3.0))

    async with opened(world) as app:
        for age_s in (0.0, 30.0, 59.0, 61.0):
            now_s[0] = 100.0 + age_s
            query = replaced(ask("", filter=wanted), budget=Budget.of(1_000, lambda: now_s[0]))
            answer = await app.recommender.recommend(query)
            assert ("filter", "unknown-attribute") not in losses(answer)

    assert features.read == 2


async def test_an_unknown_name_is_looked_up_once_a_moment_or_when_the_request_names_a_position() -> None:
    features, now_s = ManyAttributes(), [100.0]
    world, wanted = World(), filtered(condition("yaer", Comparison.GREATER, 3.0))
    reads = []

    async def few() -> tuple[AttributeUse, ...]:
        features.read += 1
        return (AttributeUse("year", {AttributeKind.NUMBER: 60}),)

    world.features, features.attributes = features, few  # type: ignore[method-assign]
    async with opened(world) as app:
        for age_s, position in ((0.0, Watermark()), (0.9, Watermark()), (0.9, Watermark.of(1)), (2.5, Watermark())):
            now_s[0] = 100.0 + age_s
            query = ask("", filter=wanted, min_watermark=position)
            answer = await app.recommender.recommend(replaced(query, budget=Budget.of(1_000, lambda: now_s[0])))
            assert ("filter", "unknown-attribute") in losses(answer)
            reads.append(features.read)

    assert reads == [1, 1, 2, 3]
