"""Logs: readable lines on a terminal, one JSON object a line anywhere else, the standard library's logs included."""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
import sys
from typing import Final, TextIO

import structlog
from structlog.typing import Processor

PSEUDONYM_CHARACTERS: Final = 16
LEVELS: Final = ("debug", "info", "warning", "error")

_pseudonym_key: bytes = secrets.token_bytes(32)


def configure_logs(level: str = "info", stream: TextIO = sys.stderr, pseudonym_key: str = "") -> None:
    """Sends all logs of the process to `stream`. A later call replaces an earlier one.

    Args:
        level: One of `LEVELS`.
        stream: Decides the form, too: a terminal gets colours.
        pseudonym_key: Makes pseudonyms the same in all processes that share it; empty: each process has its own.
    """
    global _pseudonym_key  # noqa: PLW0603 - logging is the one global thing of a process
    if pseudonym_key:
        _pseudonym_key = pseudonym_key.encode()
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_shared(), *_rendering(stream)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_shared(), structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(stream)],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(number, logging.INFO), force=True)


def pseudonym(identity: str) -> str:
    """A stand-in for a person's id in logs: the same id gives the same stand-in, which cannot be turned back."""
    return hmac.new(_pseudonym_key, identity.encode(), hashlib.sha256).hexdigest()[:PSEUDONYM_CHARACTERS]


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(stream: TextIO) -> list[Processor]:
    if stream.isatty():
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
