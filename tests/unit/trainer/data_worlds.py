"""Small data sets with a known answer, for the tests of reading, splitting, scoring and the baselines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from services.trainer.datasets import Dataset
from services.trainer.datasets_assembly import assemble
from services.trainer.interchange_events import RawEvents
from shared.domain.events import EventType
from shared.domain.items import ContentVector, Item, User

DAY_S = 86_400.0


def dataset_of(
    rows: Iterable[tuple[str, str, float]], items: Sequence[Item] = (), users: Sequence[User] = ()
) -> Dataset:
    """Views of `(user, item, time)` rows in file order."""
    rows = list(rows)
    user_names = list(dict.fromkeys(user for user, _, _ in rows))
    item_names = list(dict.fromkeys(item for _, item, _ in rows))
    events = RawEvents(
        user_names=user_names,
        item_names=item_names,
        user_codes=np.array([user_names.index(user) for user, _, _ in rows], dtype=np.int32),
        item_codes=np.array([item_names.index(item) for _, item, _ in rows], dtype=np.int32),
        event_types=np.full(len(rows), EventType.VIEW, dtype=np.int8),
        values=np.full(len(rows), np.nan, dtype=np.float32),
        times_s=np.array([time for _, _, time in rows], dtype=np.float64),
    )
    return assemble(events, items, users, "world")


def sequences_dataset(sequences: dict[str, str]) -> Dataset:
    """Each user views the items named by the letters of a word, one after another."""
    return dataset_of((user, item, float(time)) for user, items in sequences.items() for time, item in enumerate(items))


def checkerboard(size: int = 40) -> Dataset:
    """Users of even rows had the even items, odd ones the odd items, in an order that walks through them.

    Each user misses a few of their own colour: those are the only right answers (the test class of `implicit`).
    """
    rows = []
    for user in range(size):
        own = list(range(user % 2, size, 2))
        start = (user // 2) % len(own)
        walked = own[start:] + own[:start]
        rows += [(f"u{user}", f"i{item}", place * 10.0 + user / size) for place, item in enumerate(walked[:-4])]
    return dataset_of(rows)


def random_dataset(rng: np.random.Generator, users: int = 60, items: int = 50, events: int = 900) -> Dataset:
    """Events without any pattern, with many equal times and repeated items."""
    rows = zip(
        rng.integers(0, users, events), rng.integers(0, items, events), rng.integers(0, 200, events), strict=True
    )
    return dataset_of((f"u{user}", f"i{item}", float(time)) for user, item, time in rows)


def walks(users: int = 120, items: int = 24, length: int = 12, seed: int = 0) -> Dataset:
    """Everybody walks a ring of items, one or (a third of the time) two steps on: the next item is nearly known.

    Each item is in the category of its quarter of the ring.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        steps = np.where(rng.random(length) < 1 / 3, 2, 1)
        places = (rng.integers(0, items) + np.cumsum(steps)) % items
        rows += [(f"u{user}", f"i{place}", float(time * 1000 + user)) for time, place in enumerate(places)]
    details = [
        Item(f"i{row}", title=f"Item {row}", categories=(f"quarter-{4 * row // items}",)) for row in range(items)
    ]
    return dataset_of(sorted(rows, key=lambda row: row[2]), details)


def told_by_interests(*, items_say_it: bool, users: int = 200, kinds: int = 4) -> Dataset:
    """Everybody likes one kind of items and says which; whose item comes first is otherwise left to chance.

    Args:
        items_say_it: whether the interest is a tag of the items, too; else nothing but who took them tells their kind.
        users: how many.
        kinds: how many, of 30 items each.
    """
    rng = np.random.default_rng(11)
    rows = []
    for user in range(users):
        taken = rng.permutation(30)[:8].tolist()
        rows += [(f"u{user}", f"k{user % kinds}-{item}", time * 1000.0 + user) for time, item in enumerate(taken)]
    details = [
        Item(f"k{kind}-{item}", tags=(f"likes-{kind}",) if items_say_it else ())
        for kind in range(kinds)
        for item in range(30)
    ]
    people = [User(f"u{user}", (f"likes-{user % kinds}",)) for user in range(users)]
    return dataset_of(sorted(rows, key=lambda row: row[2]), details, people)


def told_by_vectors(modality: str = "", users: int = 200, kinds: int = 4) -> Dataset:
    """Everybody likes one kind of items, and nothing but a vector of this modality tells what kind an item is.

    Of the 40 items of a kind ten are new: they are only ever somebody's last event, so no training sees them. Half of
    the users end with a new one.

    Args:
        modality: of the vectors; "": items have none, and nothing tells the kind of a new item.
        users: how many.
        kinds: how many.
    """
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(kinds, 24))
    rows = []
    for user in range(users):
        old, new = rng.permutation(30)[:9].tolist(), 30 + int(rng.integers(0, 10))
        taken = [*old[:8], new if user % 2 else old[8]]
        rows += [(f"u{user}", f"k{user % kinds}-{item}", time * 1000.0 + user) for time, item in enumerate(taken)]
    details = []
    for kind in range(kinds):
        for number in range(40):
            values = (centres[kind] + 0.5 * rng.normal(size=24)).astype(np.float32)
            vectors = (ContentVector(modality, "theirs-1", f"{kind}-{number}", values),) if modality else ()
            details.append(Item(f"k{kind}-{number}", vectors=vectors))
    return dataset_of(sorted(rows, key=lambda row: row[2]), details)


def releases(days: int = 60, users: int = 40, lasting: int = 300) -> Dataset:
    """Every day an item comes out that most people take in its first days; now and then they take one that lasts.

    Behind a cut in time most targets are items that nobody knew a few days before it, and their counts tell them.
    """
    rng = np.random.default_rng(0)
    rows = []
    for day in range(days):
        for user in range(users):
            release = max(0, day - rng.choice(5, p=(0.05, 0.3, 0.3, 0.2, 0.15)))
            item = f"release-{release}" if rng.random() < 0.8 else f"old-{rng.integers(lasting)}"
            rows.append((f"u{user}", item, (day + rng.random()) * DAY_S))
    return dataset_of(sorted(rows, key=lambda row: row[2]))
