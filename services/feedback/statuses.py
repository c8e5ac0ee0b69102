"""The answer to a batch: one `google.rpc.Status` for each of its entries."""

from __future__ import annotations

from google.rpc import status_pb2

from shared.domain.intake import Recorded
from shared.kernel.errors import to_status

OK = status_pb2.Status()


def statuses(recorded: Recorded, count: int) -> list[status_pb2.Status]:
    """A status for each of `count` entries, in their order."""
    found = [OK] * count
    for row, error in recorded.refused.items():
        found[row] = to_status(error)
    return found
