"""What is known of a user, as numbers."""

from __future__ import annotations

import numpy as np

from shared.domain.items import Item, User
from shared.model.item_features import Bags, ItemFeaturizer
from shared.model.user_features import UserFeaturizer

USERS = [User(f"u{number}", ("jazz", "chess"), {"age": 20.0 + number, "plan": "free"}) for number in range(30)]
CATALOGUE = [Item(str(row), categories=("jazz",), tags=("jazz", "opera")) for row in range(3)]
ITEMS = ItemFeaturizer.fit(CATALOGUE, 100).names
FEATURIZER = UserFeaturizer.fit(USERS, 100)


def names_of(bags: Bags, user: int, names: tuple[str, ...]) -> list[str]:
    return [names[feature] for feature in bags.ids[bags.offsets[user] : bags.offsets[user + 1]]]


def test_an_interest_names_the_tag_and_the_category_of_items() -> None:
    profiles = FEATURIZER.profiles([USERS[0]], ITEMS)

    assert names_of(profiles.interests, 0, ITEMS.ids) == ["category:jazz", "tag:jazz"]


def test_an_interest_that_no_user_of_the_training_had_still_names_items() -> None:
    profiles = FEATURIZER.profiles([User("new", ("opera", " chess "))], ITEMS)

    assert names_of(profiles.interests, 0, ITEMS.ids) == ["tag:opera"]
    assert names_of(profiles.own, 0, FEATURIZER.names.ids) == ["interest:chess"]


def test_numbers_are_cut_into_bins_and_rare_features_left_out() -> None:
    assert FEATURIZER.names.ids == ("attribute:plan=free", "interest:chess", "interest:jazz")
    many = UserFeaturizer.fit([User(str(age), (), {"age": float(age % 40)}) for age in range(400)], 100)

    young, old = (names_of(many.profiles([User("", (), {"age": age})], ITEMS).own, 0, many.names.ids)
                  for age in (1.0, 90.0))  # fmt: skip

    assert young == ["attribute:age=bin0"]
    assert old == ["attribute:age=bin7"]


def test_of_nobody_nothing_is_known() -> None:
    profiles = FEATURIZER.profiles([None, User("silent"), USERS[0]], ITEMS)

    assert np.diff(profiles.own.offsets).tolist() == [0, 0, 3]
    assert np.diff(profiles.interests.offsets).tolist() == [0, 0, 2]
    assert profiles.take(np.array([0, 1, -1])).empty
    assert not profiles.empty


def test_a_share_of_the_users_tells_nothing() -> None:
    profiles = FEATURIZER.profiles(USERS * 100, ITEMS)

    hidden = profiles.hidden(0.25, np.random.default_rng(0))

    silent = np.diff(hidden.own.offsets) == 0
    assert 0.2 < silent.mean() < 0.3
    assert (np.diff(hidden.interests.offsets) == 0).tolist() == silent.tolist()
