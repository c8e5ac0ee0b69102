"""What stands on the disk: sealed under a key, hashed under a secret, and nothing to be guessed from it."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from services.feedback.keyed_hash import HASH_BYTES, KeyedHash, draw_secret
from services.feedback.record_codec import draft, draw_key, draw_nonces, seal, unseal
from shared.domain.event_log import Fact, ItemDeletion
from shared.domain.events import Event
from shared.domain.items import Item, User
from shared.wire.log import fact_from_bytes
from tests import domain_strategies as some

HASHES = KeyedHash(bytes(32))


@given(st.binary(max_size=300))
def test_sealed_bytes_come_back(payload: bytes) -> None:
    key = draw_key()
    (nonce,) = draw_nonces(1)

    assert unseal(key, seal(key, nonce, payload)) == payload


def test_another_key_opens_nothing() -> None:
    sealed = seal(draw_key(), draw_nonces(1)[0], b"payload")

    with pytest.raises(InvalidTag):
        unseal(draw_key(), sealed)


@given(st.integers(0, 8 * 40 - 1))
def test_a_changed_bit_is_noticed_wherever_it_is(bit: int) -> None:
    key = draw_key()
    sealed = bytearray(seal(key, draw_nonces(1)[0], b"payload of 12"))
    sealed[bit // 8] ^= 1 << bit % 8

    with pytest.raises(InvalidTag):
        unseal(key, bytes(sealed))


def test_no_two_nonces_are_alike() -> None:
    assert len(set(draw_nonces(10_000))) == 10_000


@given(some.ids, some.ids)
def test_hashes_of_different_ids_and_of_different_kinds_differ(one: str, other: str) -> None:
    hashes = {HASHES.event(one), HASHES.user(one), HASHES.slate(one, 0), HASHES.slate(one, 1), HASHES.event(other)}

    assert len(hashes) == (4 if one == other else 5)
    assert {len(each) for each in hashes} == {HASH_BYTES}


def test_two_logs_hash_alike_only_under_the_same_secret() -> None:
    assert KeyedHash(bytes(32)).event("e-1") == HASHES.event("e-1")
    assert KeyedHash(draw_secret()).event("e-1") != HASHES.event("e-1")


def test_the_page_is_part_of_a_slates_hash_in_every_reading() -> None:
    assert HASHES.slate("1 r", 1) != HASHES.slate("r", 11)
    assert HASHES.slate("2 r", 1) != HASHES.slate("r", 12)


@given(st.one_of(some.events(), some.slates(), some.users()))
def test_a_fact_about_a_user_is_sealed_under_the_users_key(fact: Event) -> None:
    assert draft(fact, HASHES).user_id == fact.user_id


@pytest.mark.parametrize("fact", [Item("x"), ItemDeletion("x")])
def test_the_catalogue_is_about_nobody(fact: Fact) -> None:
    assert draft(fact, HASHES).user_id == ""


def test_only_events_and_slates_are_known_again() -> None:
    assert draft(Event("e-1", "ada", "x", 3, 1), HASHES).id_hash == HASHES.event("e-1")
    assert draft(User("ada"), HASHES).id_hash == b""
    assert draft(Item("x"), HASHES).id_hash == b""


@given(some.users())
def test_a_drafts_payload_is_the_fact(user: User) -> None:
    assert fact_from_bytes(draft(user, HASHES).payload) == user
