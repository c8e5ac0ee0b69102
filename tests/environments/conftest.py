"""Tests that install every service by itself, for `make try-environments`: they download and take minutes."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("WINNOW_TEST_ENVIRONMENTS") else ["test_*.py"]
