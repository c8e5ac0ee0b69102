"""Whether a store still is as its owner left it, by the number of its last commit."""

from __future__ import annotations

import pytest

from services.feature.redis_tenure import Tenure
from services.feature.store import Changes, StoreMovedError
from shared.domain.watermark import Watermark
from shared.kernel.errors import ServiceError

OWNED = b"7"


def changes(offset: int) -> Changes:
    return Changes(Watermark.of(offset))


def test_what_was_found_and_what_was_settled_is_expected() -> None:
    tenure = Tenure("here", 7, b"6.41")
    tenure.check(OWNED, b"6.41", tenure.settled)

    commit = tenure.begin(changes(1))
    tenure.check(OWNED, b"6.41", tenure.settled)  # it may be on its way
    tenure.check(OWNED, commit, tenure.settled)  # or there, its answer lost
    tenure.settle(commit)

    tenure.check(OWNED, commit, tenure.settled)
    assert commit == b"7.1"


def test_an_answer_that_left_before_the_writer_went_on_is_no_sign_of_a_loss() -> None:
    tenure = Tenure("here", 7, b"6.41")
    asked = tenure.settled

    for offset in (1, 2, 3):
        tenure.settle(tenure.begin(changes(offset)))

    for late in (b"6.41", b"7.2"):
        tenure.check(OWNED, late, asked)
        with pytest.raises(StoreMovedError, match="set back"):  # the same answer to a question of now
            tenure.check(OWNED, late, tenure.settled)


@pytest.mark.parametrize("found", [b"6.41", b"7.1", b"5.9", b"", None, b"7.9"])
def test_a_store_that_lacks_what_was_settled_before_the_question_was_set_back(found: bytes | None) -> None:
    tenure = Tenure("here", 7, b"6.41")
    for offset in (1, 2):
        tenure.settle(tenure.begin(changes(offset)))

    with pytest.raises(StoreMovedError, match="set back"):
        tenure.check(OWNED, found, tenure.settled)


@pytest.mark.parametrize("generation", [b"6", None])
def test_an_owner_of_before_is_a_store_of_before(generation: bytes | None) -> None:
    with pytest.raises(StoreMovedError):
        Tenure("here", 7, b"").check(generation, b"", 0)


def test_a_later_owner_is_told_with_the_remedy() -> None:
    with pytest.raises(ServiceError, match="WINNOW_FEATURE_REDIS_NAMESPACE"):
        Tenure("here", 7, b"").check(b"8", b"", 0)
