"""Logs: their form, and what must not be in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from shared.kernel.logs import configure_logs, pseudonym


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """What decides the form."""
        return True


@pytest.fixture(autouse=True)
def _default_logs() -> Iterator[None]:
    """Later tests get the logs of a fresh process."""
    yield
    configure_logs()


def test_a_line_is_one_json_object_when_no_terminal_reads_it() -> None:
    stream = io.StringIO()
    configure_logs("info", stream)

    structlog.get_logger().info("disk.full", free_bytes=3)

    line = json.loads(stream.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "disk.full", "free_bytes": 3, "level": "info"}


def test_a_terminal_gets_readable_lines() -> None:
    stream = Terminal()
    configure_logs("info", stream)

    structlog.get_logger().info("disk.full", free_bytes=3)

    assert "disk.full" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_lines_below_the_level_are_not_written() -> None:
    stream = io.StringIO()
    configure_logs("warning", stream)

    structlog.get_logger().info("small talk")
    structlog.get_logger().warning("fire")

    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["fire"]


def test_libraries_that_log_in_the_standard_way_come_out_in_the_same_form() -> None:
    stream = io.StringIO()
    configure_logs("info", stream)

    logging.getLogger("asyncio").warning("slow %s", "callback", extra={"took_ms": 5})

    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["logger"], line["took_ms"]) == ("slow callback", "warning", "asyncio", 5)


def test_a_traceback_stays_inside_its_line() -> None:
    stream = io.StringIO()
    configure_logs("info", stream)

    try:
        raise LookupError("nothing there")
    except LookupError:
        structlog.get_logger().exception("failed")

    (line,) = stream.getvalue().splitlines()
    assert "LookupError: nothing there" in json.loads(line)["exception"]


def test_a_pseudonym_is_stable_and_different_for_everyone() -> None:
    assert pseudonym("ada") == pseudonym("ada")
    assert len({pseudonym(name) for name in ("ada", "bob", "eve")}) == 3
    assert len(pseudonym("ada")) == 16


def test_processes_that_share_a_key_share_pseudonyms_and_others_do_not() -> None:
    configure_logs(pseudonym_key="first")
    first = pseudonym("ada")
    configure_logs(pseudonym_key="second")
    second = pseudonym("ada")
    configure_logs(pseudonym_key="first")

    assert pseudonym("ada") == first
    assert first != second
