"""In a Redis Cluster all keys of a namespace lie in one slot, so that rows and position change in one transaction."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from services.feature.redis_rows import Keys
from tests.domain_strategies import ids


@given(user_ids=st.lists(st.one_of(ids, st.sampled_from(["{other}", "a{b}c", "{}", "}{"])), min_size=1))
def test_every_key_of_a_namespace_lies_in_one_slot(user_ids: list[str]) -> None:
    keys = Keys.of("winnow")
    found = {key_slot(key.encode()) for key in (keys.state, *keys.tables, *map(keys.events_of, user_ids))}

    assert found == {key_slot(b"winnow")}
