"""What the feature service measures, beyond what the kernel measures of every service."""

from __future__ import annotations

from typing import Final

from shared.kernel.telemetry import counter, gauge, histogram

APPLIED_RECORDS: Final = counter("feature_applied_records", "Log records that were applied.")
BEHIND_RECORDS: Final = gauge("feature_behind_records", "Log records between what is applied and the log's head.")
LOG_LOST: Final = counter("feature_log_lost", "Times that the log could not be followed any further.")
STORE_SECONDS: Final = histogram("feature_store_seconds", "Time of one transaction of the store.")
PENDING_ROWS: Final = gauge("feature_pending_rows", "Changes that wait for the store.")
USERS: Final = gauge("feature_users", "Users with a state.")
ITEMS: Final = gauge("feature_items", "Items in the catalogue.")
CONTENT_PENDING: Final = gauge("feature_content_pending_items", "Items whose content has not been encoded yet.")
CONTENT_ENCODED: Final = counter("feature_content_encoded_items", "Items that got vectors of their content.")
CONTENT_REFUSED: Final = counter("feature_content_refused", "Contents of items that could not be read or encoded.")
