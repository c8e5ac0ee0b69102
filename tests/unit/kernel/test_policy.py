"""The policy file: what it grants, and how its mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.kernel.config import ConfigError
from shared.kernel.policy import Caller, Policy, Rate, load_policy

SHOP = Caller(("spiffe://cluster.local/ns/shop/sa/backend",))


def policy_of(folder: Path, text: str) -> Policy:
    """The policy of a file."""
    path = folder / "policy.yaml"
    path.write_text(text, encoding="utf-8")
    return load_policy(path)


def test_a_client_may_call_the_methods_that_are_named_and_no_other(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        """
        clients:
          shop:
            identities: [spiffe://cluster.local/ns/shop/sa/backend, backend.shop.svc]
            methods: [a.v1.Front/Ask, a.v1.Log/*]
        """,
    )

    client = policy.client_of(SHOP)

    assert client is not None
    assert client is policy.client_of(Caller(("other", "backend.shop.svc")))
    assert client.name == "shop"
    granted = ["a.v1.Front/Ask", "a.v1.Log/Write", "a.v1.Log/Read"]
    denied = ["a.v1.Front/Tell", "a.v1.Logs/Read", "a.v1.Front/*x", "a.v1.Front/", "b.a.v1.Log/Read"]
    assert [client.may_call(each) for each in granted + denied] == [True] * 3 + [False] * 5


def test_who_is_not_in_the_file_is_nobody(tmp_path: Path) -> None:
    policy = policy_of(tmp_path, "clients: {shop: {identities: [backend.shop.svc], methods: [a.v1.Front/Ask]}}")

    assert policy.client_of(Caller(("backend.shop.svc.example.org",))) is None
    assert policy.client_of(Caller()) is None


def test_a_rate_allows_two_seconds_at_once_unless_the_file_says_more(tmp_path: Path) -> None:
    policy = policy_of(
        tmp_path,
        """
        clients:
          a: {identities: [a], requests_per_second: 5}
          b: {identities: [b], requests_per_second: 0.1}
          c: {identities: [c], requests_per_second: 5, burst_requests: 100}
          d: {identities: [d]}
        """,
    )

    rates = [policy.clients[name].rate for name in "abcd"]

    assert rates == [Rate(5, 10), Rate(0.1, 1), Rate(5, 100), None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("clients: {shop: {identities: [], methods: []}}", "clients.shop.identities"),
        ("clients: {shop: {identities: [a], methods: [Ask]}}", "clients.shop.methods.0"),
        ("clients: {shop: {identities: [a], methods: ['*']}}", "clients.shop.methods.0"),
        ("clients: {shop: {identities: ['*'], methods: []}}", "clients.shop.identities.0"),
        ("clients: {shop: {identities: [a], method: [a.B/C]}}", "clients.shop.method"),
        ("clients: {shop: {identities: [a], requests_per_second: 0}}", "clients.shop.requests_per_second"),
        ("clients: {shop: {identities: [a], burst_requests: 9}}", "burst_requests says nothing without"),
        ("{}", "clients"),
        ("", "the whole file"),
        ("clients: [", "cannot be read"),
        ("clients: {a: {identities: [x]}, b: {identities: [x]}}", "x stands under a and b"),
    ],
)
def test_a_mistake_is_told_with_the_file_and_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        policy_of(tmp_path, text)

    assert str(tmp_path / "policy.yaml") in raised.value.problems[0]
    assert told in raised.value.problems[0]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml cannot be read"):
        load_policy(tmp_path / "nothing.yaml")
