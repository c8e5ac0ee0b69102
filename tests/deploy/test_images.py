"""The Dockerfile and compose.yaml: what can be known of images without building them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from services.command.environment import SETTINGS
from shared.kernel.variables import variables
from tests.deploy.manifests import ROOT
from tests.environments.environment import EXTRAS

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
SERVICES = {"feedback", "feature", "candidate_generation", "ranking", "recommendation", "trainer"}


def hadolint(text: str) -> subprocess.CompletedProcess[str]:
    """What hadolint says of a Dockerfile."""
    command = [Path(sys.executable).parent / "hadolint", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    told = hadolint(DOCKERFILE.read_text())

    assert (told.returncode, told.stdout) == (0, "")


@pytest.mark.parametrize(
    ("good", "bad"),
    [(":3.11.13-slim-bookworm", ""), ("USER 10001", "USER root"), (" --no-install-recommends", "")],
    ids=["any base", "root", "more packages than asked for"],
)
def test_hadolint_finds_a_planted_fault(good: str, bad: str) -> None:
    text = DOCKERFILE.read_text()
    assert good in text

    assert hadolint(text.replace(good, bad)).returncode != 0


def test_both_stages_stand_on_the_same_base_of_one_version() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE)

    assert len(bases) == 2
    assert len(set(bases)) == 1
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", bases[0])


def test_an_image_has_a_health_check_and_a_user_without_rights() -> None:
    text = DOCKERFILE.read_text()

    assert re.search(r"^HEALTHCHECK .*\\\n\s+CMD ", text, re.MULTILINE)
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["10001"]


def test_each_image_has_the_extras_that_the_tests_of_environments_install() -> None:
    chosen = dict(re.findall(r"^ +(\w+)\) extras=([\w,-]*|\"\") ;;", DOCKERFILE.read_text(), re.MULTILINE))

    assert {service: extras.strip('"') for service, extras in chosen.items()} == EXTRAS


def test_who_makes_vectors_of_queries_has_the_encoder_of_who_makes_those_of_items() -> None:
    encoding = {service for service, extras in EXTRAS.items() if "multilingual" in extras.split(",")}

    assert encoding == {"feature", "trainer", "candidate_generation"}


def test_compose_sets_only_what_the_services_know() -> None:
    composed = yaml.safe_load(COMPOSE.read_text())["services"]
    known = {name for each in SETTINGS for name in variables(each)}

    given = {name for each in composed.values() for name in each.get("environment", {})}

    assert {name for name in given if name.startswith("WINNOW_")} - known == set()


def test_compose_names_only_services_volumes_and_images_that_are_there() -> None:
    whole = yaml.safe_load(COMPOSE.read_text())
    composed = whole["services"]

    for each in composed.values():
        assert set(each.get("depends_on", [])) <= composed.keys()
        mounted = {volume.partition(":")[0] for volume in each.get("volumes", []) if not volume.startswith((".", "/"))}
        assert mounted <= whole["volumes"].keys()
        assert "build" in each or not each["image"].endswith((":latest",))
    assert {each["build"]["args"]["SERVICE"] for each in composed.values() if "build" in each} == SERVICES
