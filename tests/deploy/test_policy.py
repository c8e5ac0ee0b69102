"""The policy that is shipped grants what the services need, names only what exists, and leaves the rest closed."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from shared.kernel.policy import load_policy
from tests.deploy.processes import POLICY, ROOT

SHIPPED = load_policy(POLICY)
BY_NAME = {client.name: client for client in SHIPPED.clients.values()}


def methods_of_the_contract() -> set[str]:
    """Every method of `protos/winnow/v1`."""
    modules = [path.stem + "_pb2" for path in Path(ROOT, "protos/winnow/v1").glob("*_service.proto")]
    return {
        f"{service.full_name}/{method.name}"
        for module in modules
        for service in importlib.import_module(f"winnow.v1.{module}").DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


CONTRACT = methods_of_the_contract()


def test_every_method_that_the_policy_names_exists() -> None:
    services = {method.partition("/")[0] for method in CONTRACT}

    unknown = {each for each in SHIPPED.methods() if each not in CONTRACT and each.removesuffix("/*") not in services}

    assert unknown == set()


@pytest.mark.parametrize("client", ["recommendation", "feature", "candidate-generation", "trainer", "shop"])
def test_only_operators_may_erase_export_and_read_what_all_users_did(client: str) -> None:
    guarded = {"winnow.v1.PrivacyService/EraseUser", "winnow.v1.PrivacyService/ExportUser"}
    tail = "winnow.v1.FeedbackService/TailEvents"

    assert {each for each in guarded if BY_NAME[client].may_call(each)} == set()
    assert BY_NAME[client].may_call(tail) is (client in {"feature", "trainer"})


def test_only_the_front_may_write_slates_and_ask_the_ranker() -> None:
    for method in ("winnow.v1.FeedbackService/RecordSlates", "winnow.v1.RankingService/Rank"):
        assert {name for name, client in BY_NAME.items() if client.may_call(method)} - {"operator"} == {
            "recommendation"
        }
