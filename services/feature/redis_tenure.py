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
    """

    def __init__(self, shown: str, generation: int, commit: bytes) -> None:
        self.generation = generation
        self._shown = shown
        self._last = commit
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
        self._last, self._unsure = commit, ()

    def check(self, generation: bytes | None, commit: bytes | None) -> None:
        """Compare with what the store says.

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
        if found < self.generation or commit not in (self._last, *(number for _, number in self._unsure)):
            raise StoreMovedError(
                ErrorReason.STORAGE_UNAVAILABLE,
                f"the feature store {self._shown} was set back to an earlier state and is loaded anew",
                metadata={"component": "feature-store"},
            )
