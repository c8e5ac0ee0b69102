"""Alerts and dashboards ask only for what a running product exposes, and each alert tells what to do."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from winnow.v1 import event_pb2, feedback_service_pb2, feedback_service_pb2_grpc, recommendation_service_pb2
from winnow.v1.recommendation_service_pb2_grpc import RecommendationServiceStub

from shared.kernel.telemetry import serve_metrics
from shared.kernel.variables import PREFIX
from tests.deploy.processes import ROOT
from tests.e2e.product import wait_until
from tests.integration.attacks.whole_product import Whole, whole_product

PROMETHEUS, GRAFANA = ROOT / "deploy" / "prometheus", ROOT / "deploy" / "grafana"
RULES, RULES_TEST, RUNBOOK = PROMETHEUS / "rules.yaml", PROMETHEUS / "rules_test.yaml", ROOT / "deploy" / "runbook.md"
ALERTS: Final = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
ADDED_BY_SCRAPING: Final = {"service", "instance", "pod", "job"}
OF_PROMETHEUS: Final = {"up"}
CALL_SECONDS: Final = 30

METRIC = re.compile(r"\b(winnow_\w+|process_\w+|up)\b(\{[^}]*\})?")
GROUPED = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")


def dashboards() -> ModuleType:
    """The dashboards' module, which is no package."""
    spec = importlib.util.spec_from_file_location("dashboards", GRAFANA / "dashboards.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dashboards"] = module
    spec.loader.exec_module(module)
    return module


BOARDS = dashboards()
QUERIES: Final = {
    **{f"{name}: {panel.title}: {query}": query for name, (_, panels) in BOARDS.DASHBOARDS.items()
       for panel in panels for query in panel.queries},
    **{f"{rule['alert']}: {rule['expr']}": rule["expr"] for rule in ALERTS},
}  # fmt: skip


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The labels of every sample that Prometheus reads of a product in use, by name."""
    with whole_product(tmp_path_factory.mktemp("observed")) as product, serve_metrics("127.0.0.1", 0) as port:
        use(product)
        wait_until(lambda: "winnow_online_clicks_total{" in scrape(port), CALL_SECONDS)
        return labels_by_name(scrape(port))


def use(product: Whole) -> None:
    """Slates, one with events that follow from it, enough for the ranker to tell of its drift, and a refusal."""
    front = RecommendationServiceStub(product.channel)
    for _ in range(25):
        request = recommendation_service_pb2.RecommendRequest(user_id="ann", surface="home")
        slate = front.Recommend(request, timeout=CALL_SECONDS)
    kinds = (event_pb2.EVENT_TYPE_CLICK, event_pb2.EVENT_TYPE_LIKE, event_pb2.EVENT_TYPE_HIDE)
    events = [
        event_pb2.Event(
            event_id=f"{kind}", user_id="ann", item_id=slate.items[0].item_id, event_type=kind,
            recommendation_id=slate.recommendation_id,
        )
        for kind in kinds
    ]  # fmt: skip
    log = feedback_service_pb2_grpc.FeedbackServiceStub(product.channel)
    log.RecordEvents(feedback_service_pb2.RecordEventsRequest(events=events), timeout=CALL_SECONDS)


def scrape(port: int) -> str:
    """What Prometheus reads."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return str(answer.read().decode())


def labels_by_name(text: str) -> dict[str, set[str]]:
    """The labels of each sample; of a metric that is declared and has no sample yet, those of its declaration."""
    labels: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels[sample.name] |= set(sample.labels)
        if not family.samples:
            labels[f"{family.name}_total" if family.type == "counter" else family.name] = {ANY}
    return dict(labels)


ANY: Final = "*"
"""Any label: nothing has happened yet that would be labelled, which is good where only faults are."""


def filtered(query: str) -> Iterator[tuple[str, set[str]]]:
    """The metrics of a query, each with the labels by which it is filtered."""
    for name, braces in METRIC.findall(query):
        if name not in OF_PROMETHEUS:
            yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", braces))


def grouped(query: str) -> set[str]:
    """The labels by which a query groups or joins."""
    return {label.strip() for group in GROUPED.findall(query) for label in group.split(",") if label.strip()}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES.keys())
def test_every_metric_and_label_of_a_query_is_exposed(exposed: dict[str, set[str]], query: str) -> None:
    metrics = dict(filtered(query))
    known = {label for name in metrics for label in exposed.get(name, ())} | ADDED_BY_SCRAPING

    for name, labels in metrics.items():
        assert name in exposed, f"{name} is not exposed"
        assert ANY in exposed[name] or labels <= exposed[name] | ADDED_BY_SCRAPING, f"{name} has not all of {labels}"
    assert ANY in known or grouped(query) <= known
    assert metrics or "up{" in query


def test_the_files_of_the_dashboards_are_those_of_their_code() -> None:
    assert {path.stem for path in GRAFANA.glob("*.json")} == set(BOARDS.DASHBOARDS)
    for name in BOARDS.DASHBOARDS:
        assert (GRAFANA / f"{name}.json").read_text() == BOARDS.text(name), "run python deploy/grafana/dashboards.py"


def test_every_alert_has_an_entry_in_the_runbook_and_no_entry_is_left_over() -> None:
    entries = re.findall(r"^## (\w+)\n\n(.+)\n\nLook: (.+)\n\nDo: (.+)$", RUNBOOK.read_text(), re.MULTILINE)

    assert [entry[0] for entry in entries] == [rule["alert"] for rule in ALERTS]
    assert [rule["annotations"]["runbook"] for rule in ALERTS] == [
        f"deploy/runbook.md#{rule['alert'].lower()}" for rule in ALERTS
    ]


def test_every_setting_that_the_runbook_names_exists() -> None:
    named = set(re.findall(rf"{PREFIX}[A-Z_]+", RUNBOOK.read_text()))

    assert {name for name in named if f"# {name}=" not in (ROOT / ".env.example").read_text()} == set()
    assert named


def test_every_alert_is_seen_to_fire_by_a_test_of_its_own() -> None:
    named = {case["name"] for case in yaml.safe_load(RULES_TEST.read_text())["tests"]}

    assert {rule["alert"] for rule in ALERTS} - named == set()


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Prometheus's own checker; `make setup-dev` gets it."""
    found = shutil.which("promtool") or str(Path(sys.executable).parent / "promtool")
    assert Path(found).is_file(), "promtool is missing: run make setup-dev, or install the package prometheus"
    return subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_rules_fire_as_their_tests_say() -> None:
    done = promtool("test", "rules", RULES_TEST)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_rule_that_never_fires_is_found(tmp_path: Path) -> None:
    shutil.copy(RULES_TEST, tmp_path)
    (tmp_path / RULES.name).write_text(
        RULES.read_text().replace("winnow_feature_log_up == 0", "winnow_feature_log_up == 7")
    )

    done = promtool("test", "rules", tmp_path / RULES_TEST.name)

    assert done.returncode != 0
    assert "WinnowLogLost" in done.stdout + done.stderr


def test_prometheus_understands_every_query_of_the_dashboards(tmp_path: Path) -> None:
    rules: list[dict[str, Any]] = [{"record": f"q{row}", "expr": query} for row, query in enumerate(QUERIES.values())]
    (tmp_path / "queries.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))

    done = promtool("check", "rules", tmp_path / "queries.yaml")

    assert done.returncode == 0, done.stdout + done.stderr
