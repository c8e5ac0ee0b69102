"""How a log works, whatever it is written to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.feedback.seen_ids import RUN_IDS

IDS_FOLDER: Final = "event-ids"
USER_RECORDS: Final = 500
"""Records a batch of what is held about one user."""
GROUP_BYTES: Final = 4 << 20
WAITING_BYTES: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Units are bytes and ids.

    Attributes:
        group_bytes: one transaction writes about this much at most.
        waiting_bytes: writers are held up when this much waits to be written.
        run_ids: event ids that wait in memory before they are written as a run.
    """

    group_bytes: int = GROUP_BYTES
    waiting_bytes: int = WAITING_BYTES
    run_ids: int = RUN_IDS
