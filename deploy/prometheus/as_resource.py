"""The alerts as the resource that Prometheus' operator reads: python deploy/prometheus/as_resource.py > FILE.

FILE is deploy/kubernetes/overlays/production/alerts.yaml; a test asks whether it is up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

RULES = Path(__file__).parent / "rules.yaml"
HEAD = """\
# Written by deploy/prometheus/as_resource.py from deploy/prometheus/rules.yaml; change that.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: winnow
spec:
"""


def resource() -> str:
    """The manifest, with everything of the rules but their comments at the top."""
    lines = RULES.read_text(encoding="utf-8").splitlines()
    rules = lines[lines.index("groups:") :]
    return HEAD + "".join(f"  {line}".rstrip() + "\n" for line in rules)


if __name__ == "__main__":
    sys.stdout.write(resource())
