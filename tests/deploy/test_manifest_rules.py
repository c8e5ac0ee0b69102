"""Every overlay keeps the rules of pods and networks; and each rule sees the fault that it is there for."""

from __future__ import annotations

import pytest

from services.command.output import NOT_PUBLISHED, USAGE
from services.ranking.settings import RankingSettings
from shared.kernel.config import load
from tests.deploy import network_rules, pod_rules
from tests.deploy.faults import FAULTS, Plant
from tests.deploy.manifests import OVERLAYS, named, overlay, settings
from tests.deploy.pod_rules import Rule

RULES = (*pod_rules.RULES, *network_rules.RULES)


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_overlay_keeps_every_rule(rule: Rule, name: str) -> None:
    assert list(rule(overlay(name))) == []


@pytest.mark.parametrize(("rule", "plant"), FAULTS, ids=lambda each: getattr(each, "__name__", "fault"))
def test_a_rule_sees_the_fault_that_it_is_there_for(rule: Rule, plant: Plant) -> None:
    resources = overlay("production")

    plant(resources)

    assert list(rule(resources)) != []


def test_every_rule_has_been_seen_to_fail() -> None:
    assert {rule for rule, _ in FAULTS} == set(RULES)


def test_only_a_training_that_would_end_the_same_again_is_not_tried_again() -> None:
    job = named(overlay("production"), "CronJob", "winnow-trainer")["spec"]["jobTemplate"]["spec"]

    (codes,) = [each["onExitCodes"] for each in job["podFailurePolicy"]["rules"] if each["action"] == "FailJob"]

    assert codes["values"] == [USAGE, NOT_PUBLISHED]


def test_on_gpus_a_replica_is_given_one_and_must_use_it() -> None:
    told = settings(overlay("gpu"))
    chosen = {name: told[f"WINNOW_RANKING_{name.upper()}"] for name in ("replica_gpus", "device", "precision")}
    ranking = load(RankingSettings, **chosen)

    assert (ranking.replica_gpus, ranking.device, ranking.precision) == (1, "cuda", "auto")
    assert "WINNOW_RANKING_DEVICE" not in settings(overlay("production"))
