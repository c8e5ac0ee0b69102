"""Hypothesis strategies for the domain's nouns: any event, item, user, history, slate."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from shared.domain.conditions import AttributeCondition, Comparison, ItemFilter
from shared.domain.events import Event, EventType
from shared.domain.history import History
from shared.domain.items import ContentVector, Item, User
from shared.domain.provenance import Degradation, Provenance, StageCount, StageTiming
from shared.domain.ranking import Candidates, RequestContext
from shared.domain.retrieval import SourceHits
from shared.domain.slates import Evidence, Labels, ServedSlate

ids = st.text(min_size=1, max_size=20)
words = st.text(max_size=20)
times_ms = st.integers(1, 4_000_000_000_000)
small_floats = st.floats(-1e6, 1e6, width=32)
scalars = st.one_of(words, st.floats(-1e9, 1e9), st.booleans())
attributes = st.dictionaries(ids, scalars, max_size=3)


def rows(count: int) -> st.SearchStrategy[np.ndarray]:
    """Float32 columns of a given length."""
    return st.lists(small_floats, min_size=count, max_size=count).map(lambda values: np.array(values, np.float32))


def events() -> st.SearchStrategy[Event]:
    """Any event, numbers of future types included."""
    kinds = st.one_of(st.sampled_from([int(kind) for kind in EventType if kind]), st.integers(14, 2**31 - 1))
    values = st.one_of(st.none(), st.floats(-1e9, 1e9))
    return st.builds(Event, ids, words, words, kinds, times_ms, values, words, words, words, words)


def histories(max_size: int = 8) -> st.SearchStrategy[History]:
    """Histories of events about items."""
    return st.lists(events(), max_size=max_size).map(History.of)


def vectors() -> st.SearchStrategy[ContentVector]:
    """Content vectors of any modality."""
    return st.builds(ContentVector, ids, ids, words, rows(4))


def items() -> st.SearchStrategy[Item]:
    """Any item."""
    names = st.lists(ids, max_size=3).map(tuple)
    content = st.lists(vectors(), max_size=2).map(tuple)
    uris = (words, words, words)
    return st.builds(
        Item, ids, words, words, words, names, names, attributes, content, *uris, times_ms, times_ms, times_ms
    )


def users() -> st.SearchStrategy[User]:
    """Any profile."""
    return st.builds(User, ids, st.lists(ids, max_size=3).map(tuple), attributes)


def filters() -> st.SearchStrategy[ItemFilter]:
    """Any filter."""
    sets = st.frozensets(ids, max_size=3)
    conditions = st.builds(
        AttributeCondition, ids, st.sampled_from(Comparison), st.lists(scalars, min_size=1, max_size=3).map(tuple)
    )
    return st.builds(ItemFilter, sets, sets, sets, st.lists(conditions, max_size=2).map(tuple))


def provenances() -> st.SearchStrategy[Provenance]:
    """Any header."""
    durations = st.integers(0, 5_000_000).map(lambda microseconds: microseconds / 1000)
    return st.builds(
        Provenance,
        words,
        words,
        words,
        words,
        st.lists(st.builds(Degradation, words, words, words), max_size=2).map(tuple),
        st.lists(st.builds(StageTiming, words, durations), max_size=2).map(tuple),
        st.lists(
            st.builds(StageCount, words, st.integers(0, 9), st.integers(0, 9), st.lists(ids, max_size=2).map(tuple)),
            max_size=2,
        ).map(tuple),
        words,
    )


@st.composite
def candidates(draw: st.DrawFn) -> Candidates:
    """Candidate columns, each full."""
    names = draw(st.lists(ids, max_size=5, unique=True))
    ranks = st.lists(st.integers(0, 500), min_size=len(names), max_size=len(names))
    columns = [draw(rows(len(names))) for _ in range(5)]
    integers = [np.array(draw(ranks), np.int32) for _ in range(2)]
    new_items = {item.item_id: item for item in draw(st.lists(items(), max_size=2))}
    ages, popularity, trend, scores, neighbours = columns
    creators = tuple(draw(st.lists(words, min_size=len(names), max_size=len(names))))
    return Candidates(
        tuple(names),
        ages,
        popularity,
        trend,
        scores,
        integers[0],
        neighbours,
        integers[1],
        new_items,
        creators,
        creators,
    )


@st.composite
def slates(draw: st.DrawFn) -> ServedSlate:
    """Served slates whose columns fit together."""
    ranked = draw(candidates())
    count = len(ranked)
    actions = tuple(draw(st.lists(st.integers(1, 13), max_size=3, unique=True)))
    order = draw(st.permutations(range(count)))
    shown = draw(st.integers(0, count))
    return ServedSlate(
        recommendation_id=draw(ids),
        user_id=draw(words),
        session_id=draw(words),
        surface=draw(words),
        served_ms=draw(times_ms),
        provenance=draw(provenances()),
        seed=draw(st.integers(0, 2**64 - 1)),
        history=draw(histories()),
        user=draw(st.none() | users()),
        context=draw(st.builds(RequestContext, words, words, times_ms, attributes)),
        candidates=ranked,
        sources=(SourceHits(draw(ids), np.array(order, np.int32), draw(rows(count))),),
        actions=actions,
        action_weights=tuple(draw(st.lists(st.floats(-9, 9, width=32), min_size=len(actions), max_size=len(actions)))),
        probabilities=draw(rows(count * len(actions))).reshape(count if actions else 0, len(actions)),
        values=draw(rows(count)).astype(np.float64),
        shown_rows=np.array(order[:shown], np.int32),
        propensities=draw(rows(shown)),
        reserve_rows=np.array(order[shown:], np.int32),
        first_position=draw(st.integers(0, 100)),
        labels=draw(_labels(count)),
        evidence=Evidence(np.array(order[:shown], np.int32), draw(rows(shown)), draw(rows(shown))),
        arm=draw(words),
    )


@st.composite
def _labels(draw: st.DrawFn, count: int) -> Labels:
    names = draw(st.lists(ids, max_size=3, unique=True)) if count else []
    some_rows = st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True)
    return Labels(tuple(names), tuple(np.array(draw(some_rows), np.int32) for _ in names))
