"""Whether a Redis store still is as this process left it.

The process that opened a store last owns it: opening adds one to the store's generation. Each commit leaves its number
in the store, in the same transaction as the rows. So who reads or writes sees

- by a higher generation that another process has taken the store over,
- by a lower one, or by a number that is not its own last one, that the server lost what it had acknowledged: it came
  back from its files, or a replica took its place, and both may lack the last second.
"""

from __future__ import annotations

from services.feature.store import Changes, StoreMovedError
from shared.kernel.errors import ErrorReason, ServiceError


class Tenure:
    """What this process knows of the store that it owns.

    Args:
        shown: the store's name for messages.
        generation: of this process's opening.
        commit: number of the last commit when it was opened.

    Attributes:
        settled: commits that the store is known to hold. A reader notes it before it asks, because while the answer is
            on its way the writer goes on.
    """

    def __init__(self, shown: str, generation: int, commit: bytes) -> None:
        self.generation = generation
        self.settled = 0
        self._shown = shown
        self._opening = commit
        self._count = 0
        self._unsure: tuple[tuple[Changes | None, bytes], ...] = ()

    def begin(self, changes: Changes | None) -> bytes:
        """The number of a commit, the same for the same changes until one has settled."""
        for begun, commit in self._unsure:
            if begun is changes:
                return commit
        self._count += 1
        commit = f"{self.generation}.{self._count}".encode()
        self._unsure = (*self._unsure, (changes, commit))
        return commit

    def settle(self, commit: bytes) -> None:
        """The store has answered: it holds this commit."""
        self.settled, self._unsure = self._place(commit), ()

    def check(self, generation: bytes | None, commit: bytes | None, settled: int) -> None:
        """Compare with what the store says.

        Args:
            generation: that it named.
            commit: that it named.
            settled: what was known of it when it was asked.

        Raises:
            StoreMovedError: it was set back or replaced.
            ServiceError: another process has it.
        """
        found = int(generation or 0)
        if found > self.generation:
            raise ServiceError(
                ErrorReason.STORAGE_UNAVAILABLE,
                f"the feature store {self._shown} was taken over by another process: stop one of the two, or give "
                f"each its own WINNOW_FEATURE_REDIS_NAMESPACE",
                metadata={"component": "feature-store"},
            )
        if found < self.generation or not settled <= self._place(commit) <= self._count:
            raise StoreMovedError(
                ErrorReason.STORAGE_UNAVAILABLE,
                f"the feature store {self._shown} was set back to an earlier state and is loaded anew",
                metadata={"component": "feature-store"},
            )

    def _place(self, commit: bytes | None) -> int:
        """The place of a commit among those of this tenure; that of the opening is 0, one of nowhere before it."""
        generation, _, count = (commit or b"").rpartition(b".")
        if generation == str(self.generation).encode():
            return int(count)
        return 0 if commit == self._opening else -1
