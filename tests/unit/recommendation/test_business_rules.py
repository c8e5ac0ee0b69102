"""Business rules: what is pinned, boosted, buried or blocked, from when to when, and what a file may say."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.recommendation.business_rules import AttributeRule, BusinessRule
from services.recommendation.queries import Answer, Entry
from services.recommendation.surfaces import SurfaceError, load_surfaces
from shared.domain.items import Item
from tests.unit.recommendation.front import NOW_MS, World, all_pages, ask, item_ids, opened

HEAD = "weights: {click: 1, like: 5, hide: -20}\n"
NOW = datetime.fromtimestamp(NOW_MS / 1e3, UTC)


async def answered(tmp_path: Path, rules: str, world: World | None = None, **asked: object) -> Answer:
    """An explained page under these rules."""
    (tmp_path / "default.yaml").write_text(HEAD + "rules:\n" + rules)
    async with opened(world or World(), surfaces_dir=tmp_path) as app:
        return await app.recommender.recommend(ask(explain=True, **asked))


def rules_of(answer: Answer, item_id: str) -> list[tuple[str, float]]:
    """The rules that an entry's explanation lists."""
    (entry,) = [each for each in answer.entries if each.item_id == item_id]
    return _adjustments(entry)


async def test_a_pinned_item_stands_at_its_place_even_if_no_source_gave_it(tmp_path: Path) -> None:
    world = World()
    world.candidates.sources = {"retriever": tuple(film.item_id for film in world.films[:30])}

    answer = await answered(tmp_path, "- {name: ad, do: pin, items: [film-059, film-058], position: 2}", world)

    assert item_ids(answer)[2:4] == ["film-059", "film-058"]
    assert len(set(item_ids(answer))) == 10
    assert rules_of(answer, "film-059") == [("pin:ad", 1.0)]
    assert answer.entries[2].sources[0].source == "pinned"


async def test_a_pin_keeps_the_order_of_everything_else(tmp_path: Path) -> None:
    plain = await answered(tmp_path, "- {name: a, do: block, items: [nothing]}", page_size=200)
    pinned = await answered(tmp_path, "- {name: a, do: pin, items: [film-030], position: 0}", page_size=200)

    others = [name for name in item_ids(plain) if name != "film-030"]
    assert item_ids(pinned) == ["film-030", *others]


async def test_a_pin_by_category_takes_the_best_ranked_one(tmp_path: Path) -> None:
    plain = await answered(tmp_path, "- {name: a, do: block, items: [nothing]}", page_size=200)
    pinned = await answered(tmp_path, "- {name: a, do: pin, categories: [war], count: 2}", page_size=200)

    best = [name for name in item_ids(plain) if int(name[-3:]) % 4 == 3][:2]
    assert item_ids(pinned)[:2] == best


async def test_not_even_a_pin_shows_what_a_filter_removed(tmp_path: Path) -> None:
    world = World()

    answer = await answered(tmp_path, "- {name: a, do: pin, items: [film-000, gone]}", world, page_size=200)

    assert "film-000" not in item_ids(answer), "the user consumed it"
    assert "gone" not in item_ids(answer)


async def test_pins_for_one_place_stand_behind_each_other_in_the_files_order(tmp_path: Path) -> None:
    rules = "- {name: a, do: pin, items: [film-040], position: 1}\n- {name: b, do: pin, items: [film-041], position: 1}"

    answer = await answered(tmp_path, rules)

    assert item_ids(answer)[1:3] == ["film-040", "film-041"]


async def test_a_boost_multiplies_the_value_and_a_bury_too(tmp_path: Path) -> None:
    plain = await answered(tmp_path, "- {name: a, do: block, items: [nothing]}", page_size=200)
    rules = (
        "- {name: up, do: boost, categories: [war], factor: 2}\n"
        "- {name: down, do: bury, attributes: [{name: year, is: less, values: [1970]}], factor: 0.5}"
    )
    ruled = await answered(tmp_path, rules, page_size=200)

    before = {entry.item_id: entry.score for entry in plain.entries}
    for entry in ruled.entries:
        number = int(entry.item_id[-3:])
        factor = (2.0 if number % 4 == 3 else 1.0) * (0.5 if number < 20 else 1.0)
        expected = before[entry.item_id] * (factor if before[entry.item_id] >= 0 else 1 / factor)
        assert entry.score == pytest.approx(expected)
        assert {rule for rule, _ in _adjustments(entry)} <= {"boost:up", "bury:down"}
    assert [entry.score for entry in ruled.entries] == sorted((e.score for e in ruled.entries), reverse=True)


async def test_what_the_user_would_regret_is_not_boosted_above_what_they_like(tmp_path: Path) -> None:
    world = World()
    world.ranking.logits = {"film-030": (-4.0, -4.0, 4.0), "film-031": (0.0, 0.0, -8.0)}

    answer = await answered(tmp_path, "- {name: a, do: boost, items: [film-030], factor: 1000}", world, page_size=200)

    order = item_ids(answer)
    scores = {entry.item_id: entry.score for entry in answer.entries}
    assert scores["film-030"] < 0 < scores["film-031"]
    assert order.index("film-031") < order.index("film-030")


async def test_what_is_blocked_comes_on_no_page_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "default.yaml").write_text(
        HEAD + "rules:\n- {name: a, do: block, categories: [war]}\n- {name: b, do: block, items: [film-010]}"
    )

    async with opened(World(), surfaces_dir=tmp_path) as app:
        pages = await all_pages(app.recommender, ask())

    shown = [name for page in pages for name in item_ids(page)]
    assert shown
    assert all(int(name[-3:]) % 4 != 3 for name in shown)
    assert "film-010" not in shown
    (blocked,) = [each for each in pages[0].provenance.stage_counts if each.component == "filter:blocked"]
    assert blocked.removed == 15, "14 of war that ann has not seen, and the named one"


async def test_a_rule_works_from_its_beginning_to_its_end_and_no_longer(tmp_path: Path) -> None:
    pin = "- {{name: a, do: pin, items: [film-050], from: {begin}, until: {end}}}"
    before, after = "2023-11-14T00:00:00Z", "2023-11-15T00:00:00+01:00"  # NOW_MS lies between
    assert datetime.fromisoformat(before) < NOW < datetime.fromisoformat(after)

    during = await answered(tmp_path, pin.format(begin=before, end=after))
    early = await answered(tmp_path, pin.format(begin=after, end="2023-11-16T00:00:00Z"))
    late = await answered(tmp_path, pin.format(begin="2023-11-01T00:00:00Z", end=before))

    assert item_ids(during)[0] == "film-050"
    assert item_ids(early)[0] != "film-050"
    assert item_ids(late)[0] != "film-050"


async def test_rules_hold_also_where_the_ranker_is_lost(tmp_path: Path) -> None:
    world = World()
    world.ranking.keep_retrieval_order = True

    answer = await answered(tmp_path, "- {name: a, do: boost, items: [film-020], factor: 1000}", world)

    assert item_ids(answer)[0] == "film-020"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("{name: a, do: pin}", "names nothing"),
        ("{name: a, do: hide, items: [x]}", "'pin', 'boost', 'bury' or 'block'"),
        ("{name: A b, do: pin, items: [x]}", "rules.0.name"),
        ("{name: a, do: boost, items: [x]}", "need a factor"),
        ("{name: a, do: boost, items: [x], factor: 0.5}", "the factor of boost is above 1"),
        ("{name: a, do: bury, items: [x], factor: 2}", "and that of bury below"),
        ("{name: a, do: block, items: [x], factor: 2}", "pin and block have none"),
        ("{name: a, do: block, items: [x], position: 2}", "only a pin has a position"),
        ("{name: a, do: pin, items: [x], from: 2026-01-01}", "rules.0.from"),
        ("{name: a, do: pin, items: [x], from: 2026-01-01T00:00:00}", "timezone"),
        ("{name: a, do: pin, items: [x], from: 2026-01-02T00:00:00Z, until: 2026-01-01T00:00:00Z}", "before it begins"),
        ("{name: a, do: block, attributes: [{name: x, is: like, values: [a]}]}", "unknown comparison 'like'"),
        ("{name: a, do: block, attributes: [{name: x, values: [a, b]}]}", "compares with one value"),
        ("{name: a, do: block, attributes: [{name: x, is: less, values: [a]}]}", "compares numbers"),
        ("{name: a, do: block, items: [x]}\n- {name: a, do: block, items: [y]}", "named twice: a"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_name(tmp_path: Path, rule: str, told: str) -> None:
    (tmp_path / "default.yaml").write_text(f"{HEAD}rules:\n- {rule}")

    with pytest.raises(SurfaceError) as raised:
        load_surfaces(tmp_path)

    assert told in str(raised.value)


def test_everything_that_a_rule_names_must_hold() -> None:
    rule = BusinessRule(
        name="a", do="block", items=("x", "y"), categories=("c",), attributes=(AttributeRule(name="n", values=(3,)),)
    )

    assert rule.names("x", Item("x", categories=("c", "d"), attributes={"n": 3.0}))
    assert not rule.names("z", Item("z", categories=("c",), attributes={"n": 3.0}))
    assert not rule.names("x", Item("x", categories=("d",), attributes={"n": 3.0}))
    assert not rule.names("x", Item("x", categories=("c",), attributes={"n": 4.0}))
    assert not rule.names("x", None), "nothing is known of its content"


def _adjustments(entry: Entry) -> list[tuple[str, float]]:
    assert entry.explanation is not None
    return list(entry.explanation.adjustments)
