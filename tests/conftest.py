"""What all rings of tests share: how hard hypothesis tries."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# The machine's speed must never decide a test: no deadlines. `make soak` looks a hundred times harder.
settings.register_profile("ci", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", max_examples=4000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("soak" if os.environ.get("WINNOW_SOAK") else "ci")

# Services that tests start read texts as `winnow[all]` does; BERT, which is slower to load, has tests of its own.
os.environ.setdefault("WINNOW_CONTENT_TEXT_ENCODER", "multilingual")

# Other tests may hold the processor for longer than calls may wait; what is refused then has tests of its own.
os.environ.setdefault("WINNOW_LIMIT_BACKLOG_MS", "0")
