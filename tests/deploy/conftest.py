"""Tests that need what a clone does not have are collected where a variable says where it is; see their docstrings."""

from __future__ import annotations

import os

NEEDED = {
    "test_custom_resources.py": "WINNOW_TEST_CRDS",
    "test_api_server.py": "WINNOW_TEST_KUBECONFIG",
}
collect_ignore = [name for name, variable in NEEDED.items() if not os.environ.get(variable)]
