"""Which log the settings ask for."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from services.feedback.log_options import LogOptions
from services.feedback.settings import FeedbackSettings
from services.feedback.sqlite_log import open_sqlite_log
from shared.domain.event_log import EventLog
from shared.kernel.clock import Clock
from shared.kernel.config import ConfigError

if TYPE_CHECKING:
    from services.feedback.kafka_client import KafkaOptions


def open_log(settings: FeedbackSettings, clock: Clock) -> AbstractAsyncContextManager[EventLog]:
    """The log, open until the block ends.

    Raises:
        ConfigError: it cannot be opened; names the setting or the path and the remedy.
    """
    folder = settings.data_dir / "feedback"
    options = LogOptions(settings.group_bytes, settings.waiting_bytes, settings.ids_in_memory)
    if settings.log == "sqlite":
        return open_sqlite_log(folder, clock, options)
    if settings.retention.any:
        raise ConfigError(
            "WINNOW_FEEDBACK_RETENTION_…_DAYS with WINNOW_FEEDBACK_LOG=kafka: a topic forgets whole ends of its "
            "partitions only, and the catalogue stands in them too; leave the ages at 0, or keep the log in SQLite"
        )
    try:
        from services.feedback.kafka_log import open_kafka_log  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        raise ConfigError(
            "WINNOW_FEEDBACK_LOG=kafka: the client is not installed; pip install 'winnow[kafka]'"
        ) from error
    return open_kafka_log(folder, clock, _kafka_options(settings), options)


def _kafka_options(settings: FeedbackSettings) -> KafkaOptions:
    from services.feedback.kafka_client import KafkaOptions  # noqa: PLC0415  # an optional extra

    return KafkaOptions(
        settings.kafka_bootstrap_servers,
        settings.kafka_topic,
        settings.kafka_partitions,
        settings.kafka_replication_factor,
        settings.kafka_timeout_ms,
        _properties(settings.kafka_properties_path),
    )


def _properties(path: Path | None) -> dict[str, str]:
    """Lines of `name=value`; empty ones and those that begin with # say nothing."""
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"WINNOW_FEEDBACK_KAFKA_PROPERTIES_PATH={path}: cannot be read ({error.strerror}); name a file"
        ) from error
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        name, equals, value = line.strip().partition("=")
        if not name or name.startswith("#"):
            continue
        if not equals:
            raise ConfigError(
                f"WINNOW_FEEDBACK_KAFKA_PROPERTIES_PATH={path}: line {number} is no `name=value`; "
                "write one property a line"
            )
        found[name.strip()] = value.strip()
    return found
