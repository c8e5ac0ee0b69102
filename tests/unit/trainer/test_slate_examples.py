"""A slate as an example of the ranker: what training reads of it is what serving read."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from services.trainer.slate_examples import slate_examples
from services.trainer.slate_gains import slate_gains
from services.trainer.slates import AnsweredSlate
from shared.domain.events import EventType
from tests.unit.model import networks

CLICK, RATING = (int(kind) for kind in (EventType.CLICK, EventType.RATING))


def slate(seed: int, outcomes: list[tuple[int, int]], weights: npt.ArrayLike = 1.0) -> AnsweredSlate:
    asked = networks.request(seed, 3 * seed, 4 + seed)
    return AnsweredSlate(
        user_id="u",
        served_ms=asked.time_ms,
        time_ms=asked.time_ms,
        history=asked.history,
        user=asked.user,
        candidates=asked.candidates,
        weights=np.broadcast_to(np.array(weights, np.float32), len(asked.candidates)).copy(),
        places=np.array([place for place, _ in outcomes], np.int64),
        kinds=np.array([kind for _, kind in outcomes], np.int64),
        times_ms=np.full(len(outcomes), asked.time_ms),
    )


def test_features_and_histories_are_those_that_serving_computes_from_the_same_inputs() -> None:
    model = networks.ranker()
    slates = [slate(1, [(0, CLICK)]), slate(4, []), slate(20, [(3, RATING)])]
    served: list[npt.NDArray[np.float32]] = []
    model.on_features = served.append
    model.score([each.request for each in slates])

    examples = slate_examples(slates, model, model.parts.knowledge)

    for number, features in enumerate(served):
        np.testing.assert_allclose(examples.features[number, : len(features)], features, atol=5e-3)
    assert examples.requests.places.tolist() == [3, 12, networks.SETTINGS.history_limit]
    assert examples.rows.shape[1] == 24
    assert (examples.rows[0, 5:] == -1).all()


def test_every_kind_with_a_head_is_an_outcome() -> None:
    model = networks.ranker()

    examples = slate_examples(
        [slate(1, [(0, CLICK), (0, RATING), (2, EventType.PURCHASE)]), slate(2, [])], model, model.parts.knowledge
    )

    assert examples.outcomes.tolist() == [[0, 0], [-1, -1]]
    assert examples.actions.tolist() == [[0, 1], [-1, -1]]


def test_what_nobody_looked_at_is_no_candidate() -> None:
    model = networks.ranker()
    seen = slate(1, [(0, CLICK)], [1, 4, 0, 1, 0])

    examples = slate_examples([seen], model, model.parts.knowledge)

    assert (examples.rows[0, [2, 4]] == -1).all()
    assert examples.weights is not None
    assert examples.weights[0].tolist() == [1, 4, 0, 1, 0]


def test_a_ranker_gains_most_when_it_puts_what_was_taken_first() -> None:
    model = networks.ranker()
    asked = slate(3, [])
    (result,) = model.score([asked.request])
    best, *_, worst = np.argsort(-result.probabilities.sum(axis=1)).tolist()

    first, last = slate_gains(model, [slate(3, [(best, CLICK)]), slate(3, [(worst, CLICK)])])

    assert first == 1
    assert last < 0.5
