"""The Grafana dashboards as code: `python deploy/grafana/dashboards.py` writes the JSON files beside this one.

A test scrapes a running product and checks that every metric and label of every query here is really exposed.
Counters of online quality are those of the whole log in each replica of the feature service: the maximum counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WIDTH, HEIGHT, A_ROW = 12, 8, 2
ONE = "max without (instance, pod)"
RECOMMEND = 'method="winnow.v1.RecommendationService/Recommend"'
SLATE = "surface, arm"


@dataclass(frozen=True)
class Panel:
    """One graph.

    Attributes:
        unit: Grafana's name of the unit.
        queries: legend by query.
    """

    title: str
    unit: str
    queries: dict[str, str]


def share(part: str, whole: str) -> str:
    """How much of one thing is another."""
    return f"{part} / {whole}"


def percentile(name: str, metric: str, by: str, where: str = "") -> dict[str, str]:
    """Percentiles of a histogram by a label."""
    return {
        f"histogram_quantile({q}, sum by (le, {by}) (rate({metric}_bucket{{{where}}}[5m])))": f"p{int(q * 100)} {name}"
        for q in (0.5, 0.99)
    }


def online(what: str, by: str) -> str:
    """A rate of the online join, of one replica."""
    return f"sum by ({by}) ({ONE} (rate(winnow_online_{what}_total[1h])))"


REQUESTS = (
    Panel("Calls", "reqps", {"sum by (method) (rate(winnow_rpc_handled_total[5m]))": "{{method}}"}),
    Panel(
        "Calls that fail",
        "reqps",
        {'sum by (method, code) (rate(winnow_rpc_handled_total{code!="OK"}[5m]))': "{{method}} {{code}}"},
    ),
    Panel("Time of a slate", "s", percentile("", "winnow_rpc_seconds", "method", RECOMMEND)),
    Panel("Time of the stages", "s", percentile("{{stage}}", "winnow_stage_seconds", "stage")),
    Panel(
        "Lost quality", "reqps", {"sum by (stage, reason) (rate(winnow_degraded_total[5m]))": "{{stage}} {{reason}}"}
    ),
    Panel("Circuits that are open", "short", {"max by (dependency) (winnow_breaker_open)": "{{dependency}}"}),
    Panel(
        "Ranked candidates",
        "short",
        {
            share(
                "sum(rate(winnow_recommendation_ranked_sum[5m]))", "sum(rate(winnow_recommendation_ranked_count[5m]))"
            ): "a slate",
        },
    ),
    Panel(
        "Share of the candidates that is ranked", "percentunit", {"min(winnow_recommendation_quality_factor)": "least"}
    ),
    Panel(
        "Log",
        "short",
        {
            "max(winnow_feature_behind_records)": "records behind",
            "time() - max(winnow_feature_watermark_seconds)": "seconds since the last record",
            "min(winnow_feature_log_up)": "followed",
        },
    ),
    Panel(
        "Slates on their way to the log",
        "short",
        {
            "sum(winnow_recommendation_slates_waiting)": "waiting",
            "sum(rate(winnow_recommendation_slates_lost_total[5m]))": "lost a second",
        },
    ),
    Panel("Writes to the log", "s", percentile("", "winnow_feedback_commit_seconds", "service")),
    Panel("Forward pass", "s", percentile("", "winnow_ranker_forward_seconds", "service")),
    Panel("Refused before any work", "reqps", {"sum by (reason) (rate(winnow_rpc_refused_total[5m]))": "{{reason}}"}),
    Panel("Calls that wait to be taken up", "s", {"max by (service) (winnow_rpc_backlog_seconds)": "{{service}}"}),
    Panel(
        "Slates that may be made at once",
        "short",
        {
            "min(winnow_recommendation_concurrency_limit)": "least",
            "sum(rate(winnow_recommendation_crowded_out_total[5m]))": "refused a second",
        },
    ),
    Panel("Open streams", "short", {"sum by (service) (winnow_rpc_streams)": "{{service}}"}),
    Panel(
        "Background tasks that fail", "short", {"sum by (task) (increase(winnow_task_failures_total[1h]))": "{{task}}"}
    ),
    Panel(
        "Memory", "bytes", {"max by (service, instance) (process_resident_memory_bytes)": "{{service}} {{instance}}"}
    ),
)
QUALITY = (
    Panel(
        "Clicks on shown entries",
        "percentunit",
        {share(online("clicks", SLATE), online("shown", SLATE)): "{{surface}} {{arm}}"},
    ),
    Panel(
        "Clicks by position",
        "percentunit",
        {share(online("clicks", "position"), online("shown", "position")): "{{position}}"},
    ),
    Panel(
        "Reward of an entry",
        "short",
        {
            share(f"({online('reward', SLATE)} - {online('penalty', SLATE)})", online("shown", SLATE)): (
                "{{surface}} {{arm}}"
            )
        },
    ),
    Panel(
        "Reward by position",
        "short",
        {
            share(f"({online('reward', 'position')} - {online('penalty', 'position')})", online("shown", "position")): (
                "{{position}}"
            )
        },
    ),
    Panel("What follows", "reqps", {online("outcomes", "event"): "{{event}}"}),
    Panel(
        "Observed over promised (1 is calibrated)",
        "short",
        {share(online("observed", "event"), online("expected", "event")): "{{event}}"},
    ),
    Panel("Events without their slate", "reqps", {f"{ONE} (rate(winnow_online_unjoined_total[1h]))": "events"}),
    Panel(
        "Share of the catalogue that is shown",
        "percentunit",
        {"max(winnow_online_shown_items) / max(winnow_feature_items)": "in a day"},
    ),
    Panel(
        "New items among the shown",
        "percentunit",
        {share(online("new_shown", SLATE), online("shown", SLATE)): "{{surface}} {{arm}}"},
    ),
    Panel(
        "Candidates by source",
        "short",
        {"sum by (source) (rate(winnow_recommendation_candidates_total[5m]))": "{{source}}"},
    ),
    Panel(
        "Candidates that filters remove",
        "short",
        {"sum by (filter) (rate(winnow_recommendation_filtered_total[5m]))": "{{filter}}"},
    ),
    Panel("Slates that are too short", "reqps", {"sum(rate(winnow_recommendation_underfilled_total[5m]))": "slates"}),
    Panel(
        "Age of the bundle in use",
        "s",
        {"time() - max by (component) (winnow_bundle_created_seconds)": "{{component}}"},
    ),
    Panel(
        "Bundles in use",
        "short",
        {"count by (component, version) (winnow_bundle_info == 1)": "{{component}} {{version}}"},
    ),
    Panel("Recall of the index", "percentunit", {"min by (component) (winnow_bundle_index_recall)": "{{component}}"}),
    Panel(
        "Recall of the index, today's requests",
        "percentunit",
        {
            "sum(rate(winnow_candidate_generation_index_recall_sum[1h])) / "
            "sum(rate(winnow_candidate_generation_index_recall_count[1h]))": "recall"
        },
    ),
    Panel(
        "Population against training, stability index",
        "short",
        {"max by (feature) (winnow_ranker_population_stability)": "{{feature}}"},
    ),
    Panel(
        "Features against training, means", "short", {"max by (feature) (winnow_ranker_feature_shift)": "{{feature}}"}
    ),
    Panel(
        "Features against training, deviations",
        "short",
        {"max by (feature) (winnow_ranker_feature_spread)": "{{feature}}"},
    ),
    Panel(
        "Probability that candidates are given",
        "percentunit",
        {"avg by (event) (winnow_ranker_probability)": "{{event}}"},
    ),
    Panel(
        "Catalogue and users",
        "short",
        {
            "max(winnow_feature_items)": "items",
            "max(winnow_feature_users)": "users",
            "max(winnow_feature_content_pending_items)": "items whose content is not encoded",
        },
    ),
)
DASHBOARDS = {"requests": ("Winnow: requests", REQUESTS), "quality": ("Winnow: what is served", QUALITY)}


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard as Grafana imports it."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"winnow-{name}",
        "title": title,
        "tags": ["winnow"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": list(_panels(panels)),
    }


def text(name: str) -> str:
    """The file of a dashboard."""
    return json.dumps(dashboard(name), indent=1) + "\n"


def _panels(panels: tuple[Panel, ...]) -> Iterator[dict[str, Any]]:
    for place, panel in enumerate(panels):
        yield {
            "id": place + 1,
            "type": "timeseries",
            "title": panel.title,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"x": place % A_ROW * WIDTH, "y": place // A_ROW * HEIGHT, "w": WIDTH, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
            "targets": [
                {"refId": chr(ord("A") + number), "expr": query, "legendFormat": legend}
                for number, (query, legend) in enumerate(panel.queries.items())
            ],
        }


if __name__ == "__main__":
    for each in DASHBOARDS:
        (HERE / f"{each}.json").write_text(text(each), encoding="utf-8")
