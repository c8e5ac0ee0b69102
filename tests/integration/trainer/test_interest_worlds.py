"""A whole training on a world where interest tags tell a cold user's taste and nothing else does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.trainer.app import Workplace, train
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from services.trainer.retrieval_training import RetrievalTrainingSettings
from shared.domain.history import History
from shared.domain.items import User
from shared.domain.ranking import Candidates, RankingRequest
from shared.model.bundle import Bundle, open_bundle
from shared.model.ranker import RankerModel
from shared.model.retriever import RetrieverModel
from tests.integration.trainer.test_training_worlds import place_in
from tests.unit.trainer.data_worlds import told_by_interests

SETTINGS = replace(
    TrainingSettings(),
    preset="tiny",
    epochs=Epochs(sliced=8, continued=2, ranker=1, patience=3),
    retrieval=replace(RetrievalTrainingSettings(), batch_tokens=128),
    recall_k=10,  # of the 30 items that anybody likes
    final_fit=False,
)
KINDS = 4
COLD = [User(f"new-{kind}", (f"likes-{kind}",)) for kind in range(KINDS)]
NOW_MS = 10_000_000


def trained(place: Workplace, *, items_say_it: bool) -> Bundle:
    publication = train(told_by_interests(items_say_it=items_say_it), SETTINGS, place, silent).publication
    return open_bundle(place.registry.fetch(publication.version, place.work_dir / "read"))


def right(item_ids: list[str], kind: int) -> float:
    """The share of items of this kind."""
    return float(np.mean([item_id.startswith(f"k{kind}-") for item_id in item_ids]))


def retrieved(bundle: Bundle, user: User | None) -> list[str]:
    """The ten items that are nearest to somebody without a history."""
    model = RetrieverModel.load(bundle)
    near = model.catalogue_vectors() @ model.user_vectors([History.empty()], None, [user])[0]
    return [bundle.vocabulary.ids[row] for row in np.argsort(-near)[:10]]


def ranked(bundle: Bundle, user: User | None) -> list[str]:
    """The ten items that the ranker puts first for somebody without a history, out of all and of nothing else known."""
    floats, ranks = np.empty(0, np.float32), np.empty(0, np.int32)
    candidates = Candidates(bundle.vocabulary.ids, floats, floats, floats, floats, ranks, floats, ranks)
    (result,) = RankerModel.load(bundle).score([RankingRequest(History.empty(), candidates, NOW_MS, user)])
    return [bundle.vocabulary.ids[row] for row in np.argsort(-result.probabilities[:, 0])[:10]]


@pytest.mark.parametrize("items_say_it", [True, False], ids=["items have the tag", "only users have the tag"])
def test_a_cold_users_interests_find_the_right_items(tmp_path: Path, items_say_it: bool) -> None:
    bundle = trained(place_in(tmp_path), items_say_it=items_say_it)

    for find in (retrieved, ranked):
        told = np.mean([right(find(bundle, user), kind) for kind, user in enumerate(COLD)])
        untold = np.mean([right(find(bundle, None), kind) for kind in range(KINDS)])
        assert told > 0.9, find.__name__
        assert untold == pytest.approx(1 / KINDS), "one list for all four kinds holds each item once"
