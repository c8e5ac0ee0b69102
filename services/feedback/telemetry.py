"""What the feedback service measures beyond what the kernel measures of every service."""

from __future__ import annotations

from typing import Final

from shared.kernel.telemetry import Label, counter, gauge, histogram

RECORDS: Final = counter("feedback_records", "Facts that were written to the log.")
REPEATS: Final = counter("feedback_repeats", "Events and slates that were in the log already.")
REFUSED: Final = counter("feedback_refused", "Events, slates, items and profiles that broke a rule.")
COMMIT_SECONDS: Final = histogram("feedback_commit_seconds", "Time of one transaction of the log.")
WAITING_BYTES: Final = gauge("feedback_waiting_bytes", "What waits for the disk; writers are held up at a limit.")
STORAGE_FAILURES: Final = counter(
    "feedback_storage_failures", "Reads and writes that the disk refused.", [Label.REASON]
)
for _reason in ("STORAGE_FULL", "STORAGE_UNAVAILABLE"):
    STORAGE_FAILURES.labels(_reason)  # there from the start, so that the first failure is an increase
ERASURES: Final = counter("feedback_erasures", "Users that were erased.")
FORGOTTEN: Final = counter("feedback_forgotten", "Records that retention deleted.")
