"""What the disk says, as the one error that a caller or an operator understands."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from services.feedback.telemetry import STORAGE_FAILURES
from shared.kernel.errors import ErrorReason, ServiceError

COMPONENT: Final = "event-log"
FULL_BELOW_BYTES: Final = 1 << 20
"""A write that fails without a clear reason while less than this is free failed because the disk is full."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns errors of SQLite and of the file system about `path` into `ServiceError`.

    Raises:
        ServiceError: STORAGE_FULL or STORAGE_UNAVAILABLE.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        told = storage_error(error, path)
        STORAGE_FAILURES.labels(told.reason.name).inc()
        raise told from error


def storage_error(error: sqlite3.Error | OSError, path: Path) -> ServiceError:
    """What to tell the caller."""
    free = _free_bytes(path)
    if _is_full(error, free):
        message = (
            f"the disk under {path} is full ({free} bytes free): nothing of this request was kept; free some space"
        )
        return ServiceError(ErrorReason.STORAGE_FULL, message, metadata={"path": str(path), "freeBytes": str(free)})
    message = f"the event log at {path} cannot be read or written ({error}): check the disk, then the service's log"
    return ServiceError(ErrorReason.STORAGE_UNAVAILABLE, message, metadata={"component": COMPONENT})


def damaged_record(path: Path, offset: int) -> ServiceError:
    """For a record whose bytes are not those that were written."""
    message = f"record {offset} of {path} is damaged: the disk is failing or the file was altered; restore a backup"
    return ServiceError(ErrorReason.STORAGE_UNAVAILABLE, message, metadata={"component": COMPONENT})


def log_closed() -> ServiceError:
    """For whoever still reads or writes when the service goes."""
    return ServiceError(
        ErrorReason.NOT_READY,
        "the event log is closed: the service is stopping; call again",
        metadata={"state": "stopping"},
    )


def _is_full(error: sqlite3.Error | OSError, free: int) -> bool:
    if isinstance(error, OSError):
        return error.errno in {errno.ENOSPC, errno.EDQUOT}
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    return code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and free < FULL_BELOW_BYTES)


def _free_bytes(path: Path) -> int:
    try:
        return shutil.disk_usage(path if path.exists() else path.parent).free
    except OSError:
        return -1
