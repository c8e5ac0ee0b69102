"""Raw events and details to a `Dataset`: time order, dense rows, details beside their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.datasets import Dataset, Interactions
from services.trainer.interchange_events import RawEvents
from shared.domain.items import Item, User
from shared.domain.vocabulary import Vocabulary


def assemble(events: RawEvents, items: Iterable[Item], users: Iterable[User], name: str) -> Dataset:
    """Sort the events stably by time and number users and items by their first event, then by their file.

    First events, and not ids, make the order: ids can tell things that no model may know (Amazon's ties are in
    ascending id order), and the order then stays the same when the data are written and read again.
    """
    order = np.argsort(events.times_s, kind="stable")
    user_ids, user_rows = _renumbered(events.user_names, events.user_codes[order])
    item_ids, item_rows = _renumbered(events.item_names, events.item_codes[order])
    known_items = {item.item_id: item for item in items}
    known_users = {user.user_id: user for user in users}
    item_vocabulary = Vocabulary(dict.fromkeys([*item_ids, *known_items]))
    user_vocabulary = Vocabulary(dict.fromkeys([*user_ids, *known_users]))
    return Dataset(
        users=user_vocabulary,
        items=item_vocabulary,
        interactions=Interactions(
            user_rows=user_rows,
            item_rows=item_rows,
            event_types=events.event_types[order],
            values=events.values[order],
            times_s=events.times_s[order],
            users_count=len(user_vocabulary),
        ),
        item_details=tuple(known_items.get(item_id) or Item(item_id) for item_id in item_vocabulary.ids),
        user_details=tuple(known_users.get(user_id) or User(user_id) for user_id in user_vocabulary.ids),
        name=name,
    )


def raw_events_of(dataset: Dataset, keep: npt.NDArray[np.bool_] | None = None) -> RawEvents:
    """The events of a data set (those under the mask `keep`), ready to be assembled into a smaller one."""
    events = dataset.interactions if keep is None else dataset.interactions.take(keep)
    return RawEvents(
        user_names=list(dataset.users.ids),
        item_names=list(dataset.items.ids),
        user_codes=events.user_rows,
        item_codes=events.item_rows,
        event_types=events.event_types,
        values=events.values,
        times_s=events.times_s,
    )


def _renumbered(names: Sequence[str], codes: npt.NDArray[np.int32]) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Ids that occur, by first appearance, and the rows of `codes` among them."""
    distinct, first, places = np.unique(codes, return_index=True, return_inverse=True)
    by_appearance: npt.NDArray[Any] = np.argsort(first)
    rows = np.empty(len(distinct), dtype=np.int32)
    rows[by_appearance] = np.arange(len(distinct), dtype=np.int32)
    return [names[code] for code in distinct[by_appearance]], rows[places]
