"""Tests that build and run images, for `make try-images`: they need root, Debian and minutes."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("WINNOW_TEST_IMAGES") else ["test_*.py"]
