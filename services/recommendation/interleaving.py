"""A fair merge of lists that cannot be compared by score."""

from __future__ import annotations

from itertools import chain, zip_longest

from services.recommendation.slate import Pool


def interleaved(*pools: Pool) -> Pool:
    """A fair merge: the best of each pool first, then the second of each, and so on; each item once."""
    rounds = chain.from_iterable(zip_longest(*(pool.item_ids for pool in pools)))
    merged = Pool(tuple(dict.fromkeys(item_id for item_id in rounds if item_id is not None)))
    for pool in pools:
        merged = merged.joined(pool)
    return merged
