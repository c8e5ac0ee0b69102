"""Encoded histories kept between requests: the same scores with the memory as without, and no work done twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.domain.items import User
from shared.domain.ranking import RankingRequest
from shared.model.encoding import PackedHistories, pack_histories
from shared.model.execution import Execution
from shared.model.history_cache import KEPT_SECONDS, HistoryCache
from shared.model.ranker import RankerModel
from shared.model.ranker_network import EncodedHistories
from shared.model.retriever import HistoryInputs
from tests.unit.model import networks

MODEL = networks.ranker()
TOLERANCE = 1e-5
ENOUGH = 1 << 24


class Encoder:
    """The model's own, counting the histories that it is given."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    @torch.inference_mode()
    def __call__(self, packed: PackedHistories) -> EncodedHistories:
        self.seen.append(len(packed))
        inputs = HistoryInputs.of(packed)
        return MODEL.parts.network.encode_latest(inputs, MODEL.raw_items(np.arange(len(networks.ITEMS))))


def packed(*lengths: int) -> PackedHistories:
    """Histories of these lengths, each length with events of its own."""
    histories = [networks.history(length, length) for length in lengths]
    return pack_histories(histories, networks.VOCABULARY, networks.SCALE, networks.SETTINGS.history_limit)


def cache(encoder: Encoder, limit_bytes: int = ENOUGH) -> HistoryCache:
    return HistoryCache(encoder, limit_bytes, lambda: 0.0)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=4), min_size=1, max_size=6))
def test_a_model_with_a_memory_gives_the_scores_of_one_without(batches: list[list[int]]) -> None:
    remembering = RankerModel(MODEL.parts, execution=Execution(cache_bytes=ENOUGH))

    for batch in batches:
        requests = [networks.request(length, length, 3 + length) for length in batch]
        for result, plain in zip(remembering.score(requests), MODEL.score(requests), strict=True):
            assert np.allclose(result.probabilities, plain.probabilities, atol=TOLERANCE)
            assert np.allclose(result.ratings, plain.ratings, atol=TOLERANCE)


def test_a_remembered_history_gives_the_same_score_to_the_last_bit() -> None:
    remembering = RankerModel(MODEL.parts, execution=Execution(cache_bytes=ENOUGH))
    request = networks.request(5, 20, 30)
    (first,), (second,) = remembering.score([request]), remembering.score([request])

    assert first.probabilities.tolist() == second.probabilities.tolist()


def test_a_history_is_encoded_once() -> None:
    encoder = Encoder()
    kept = cache(encoder)
    kept.encoded(packed(3, 9))
    kept.encoded(packed(9))
    kept.encoded(packed(3, 4, 9))

    assert encoder.seen == [2, 1]


def test_users_with_the_same_history_are_encoded_once_in_a_batch() -> None:
    encoder = Encoder()
    encoded = cache(encoder, limit_bytes=0).encoded(packed(5, 7, 5, 5))

    assert encoder.seen == [2]
    assert torch.equal(encoded.keys[0][0], encoded.keys[0][2])
    assert encoded.users.shape[0] == 4


def test_one_more_event_is_another_history() -> None:
    remembering = RankerModel(MODEL.parts, execution=Execution(cache_bytes=ENOUGH))
    request = networks.request(5, 20, 30)
    longer: RankingRequest = replace(request, history=networks.history(5, 21))
    remembering.score([request])

    assert np.allclose(
        remembering.score([longer])[0].probabilities, MODEL.score([longer])[0].probabilities, atol=TOLERANCE
    )


def test_the_same_events_with_other_values_are_another_history() -> None:
    encoder = Encoder()
    kept, past = cache(encoder), packed(8)
    kept.encoded(past)
    kept.encoded(replace(past, event_codes=past.event_codes[::-1].copy()))
    kept.encoded(replace(past, gap_bins=past.gap_bins + 1))

    assert encoder.seen == [1, 1, 1]


def test_the_same_events_of_somebody_with_other_interests_are_another_history() -> None:
    encoder = Encoder()
    kept, past = cache(encoder), packed(8)
    interests = ([None], [User("", ("genre-1",))], [User("", ("genre-2",))], [User("", (), {"plan": "a"})])
    for users in interests:
        kept.encoded(replace(past, profiles=networks.ENCODING.profiles(users)))
    kept.encoded(replace(past, profiles=networks.ENCODING.profiles([User("other", ("genre-1",))])))

    assert encoder.seen == [1, 1, 1, 1]


def test_memory_stays_within_its_limit_and_the_longest_unused_goes_first() -> None:
    encoder = Encoder()
    one = _bytes(cache(encoder).encoded(packed(10)))
    kept = cache(encoder, limit_bytes=int(2.5 * one))
    encoder.seen.clear()
    for length in (10, 9, 10, 8):  # the third asks for the first again, so the second has to go
        kept.encoded(packed(length))
    kept.encoded(packed(10))
    kept.encoded(packed(9))

    assert encoder.seen == [1, 1, 1, 1]


def test_a_remembered_history_holds_no_memory_of_its_batch() -> None:
    kept = cache(Encoder())
    kept.encoded(packed(3, 9))
    encoded = kept.encoded(packed(9))

    for part in (encoded.users, *encoded.keys, *encoded.values):
        assert part.untyped_storage().nbytes() == part.nbytes


def test_nothing_is_kept_longer_than_it_may() -> None:
    encoder = Encoder()
    moment = 0.0
    kept = HistoryCache(encoder, ENOUGH, lambda: moment)
    kept.encoded(packed(6))
    moment = KEPT_SECONDS - 1
    kept.encoded(packed(6))
    moment = KEPT_SECONDS + 1
    kept.encoded(packed(6))

    assert encoder.seen == [1, 1]


def _bytes(encoded: EncodedHistories) -> int:
    return sum(part.nbytes for part in (encoded.users, *encoded.keys, *encoded.values))
