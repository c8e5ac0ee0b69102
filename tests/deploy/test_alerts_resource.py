"""The alerts that a cluster gets are those that are tested."""

from __future__ import annotations

import subprocess
import sys

from tests.deploy.manifests import KUBERNETES, ROOT, named, overlay


def test_the_committed_resource_is_that_of_the_rules() -> None:
    writer = ROOT / "deploy" / "prometheus" / "as_resource.py"

    made = subprocess.run([sys.executable, writer], capture_output=True, text=True, check=True).stdout

    written = (KUBERNETES / "overlays" / "production" / "alerts.yaml").read_text()
    assert written == made, "run deploy/prometheus/as_resource.py and commit alerts.yaml"


def test_every_alert_reaches_the_cluster() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text()

    groups = named(overlay("production"), "PrometheusRule", "winnow")["spec"]["groups"]

    assert sum("alert" in rule for group in groups for rule in group["rules"]) == rules.count("- alert:")
