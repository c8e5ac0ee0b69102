"""What the feature service measures, beyond what the kernel measures of every service."""

from __future__ import annotations

from typing import Final

from shared.kernel.telemetry import Label, counter, gauge, histogram

APPLIED_RECORDS: Final = counter("feature_applied_records", "Log records that were applied.")
BEHIND_RECORDS: Final = gauge("feature_behind_records", "Log records between what is applied and the log's head.")
LOG_LOST: Final = counter("feature_log_lost", "Times that the log could not be followed any further.")
STORE_SECONDS: Final = histogram("feature_store_seconds", "Time of one transaction of the store.")
PENDING_ROWS: Final = gauge("feature_pending_rows", "Changes that wait for the store.")
USERS: Final = gauge("feature_users", "Users with a state.")
ITEMS: Final = gauge("feature_items", "Items in the catalogue.")
LOG_UP: Final = gauge("feature_log_up", "1 while the log is followed.")
WATERMARK: Final = gauge(
    "feature_watermark_seconds", "When the last record was written that is applied, Unix time; 0 before the first."
)

# Online quality: slates joined to their events, see `online_quality.py`. Each replica counts the whole log.
SLATE: Final = (Label.SURFACE, Label.ARM)
SHOWN: Final = counter("online_shown", "Entries of served slates.", [*SLATE, Label.POSITION])
NEW_SHOWN: Final = counter("online_new_shown", "Of these, entries with an item of the last seven days.", SLATE)
CLICKS: Final = counter("online_clicks", "Entries that were clicked, each once.", [*SLATE, Label.POSITION])
OUTCOMES: Final = counter(
    "online_outcomes", "Entries that something followed from, once for each kind.", [*SLATE, Label.EVENT]
)
REWARD: Final = counter(
    "online_reward", "What followed, by the weights that the slate was made with.", [*SLATE, Label.POSITION]
)
PENALTY: Final = counter(
    "online_penalty", "The same for kinds of events whose weight is negative.", [*SLATE, Label.POSITION]
)
EXPECTED: Final = counter("online_expected", "Sum of the probabilities that shown entries were given.", [Label.EVENT])
OBSERVED: Final = counter("online_observed", "What followed from entries that were given a probability.", [Label.EVENT])
UNJOINED: Final = counter("online_unjoined", "Events whose slate is not known, or does not show their item.")
SHOWN_ITEMS: Final = gauge("online_shown_items", "Different items shown today, or yesterday if those were more.")
CONTENT_PENDING: Final = gauge("feature_content_pending_items", "Items whose content has not been encoded yet.")
CONTENT_ENCODED: Final = counter("feature_content_encoded_items", "Items that got vectors of their content.")
CONTENT_REFUSED: Final = counter("feature_content_refused", "Contents of items that could not be read or encoded.")
