"""What operators may set is written down, all of it."""

from __future__ import annotations

from pathlib import Path

from services.command.environment import SETTINGS
from shared.kernel.variables import env_example

ROOT = Path(__file__).parents[2]


def test_the_example_of_settings_is_that_of_the_code() -> None:
    written = (ROOT / ".env.example").read_text(encoding="utf-8")

    assert written == env_example(SETTINGS), "run `make env-example` and commit .env.example"
