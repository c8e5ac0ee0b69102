"""The Go client against real services, as its brothers in `test_clients`.

Collected where WINNOW_TEST_GO_CLIENT names the program that `go build` makes of `protos/clients/go`: Go and its modules
are no part of the development environment.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.deploy.processes import Deployment
from tests.deploy.test_clients import assert_the_click_was_followed, run, settings, wait_for_items

PROGRAM = os.environ["WINNOW_TEST_GO_CLIENT"]


def test_the_go_client_asks_tells_and_asks_again(deployment: Deployment, tmp_path: Path) -> None:
    wait_for_items(deployment)

    printed = run(PROGRAM, "customer-3", **settings(deployment, tmp_path))

    assert_the_click_was_followed(printed)
