"""The ranker's last step: a line that is taken when it is clearly better, and that lies in the weights afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from services.trainer.correction import LEAST_REQUESTS, Correction, Floats, Judged, correction_of, engaged, gains_of
from shared.model.knowledge import NAMES
from tests.unit.model.networks import ranker, request

Q, C, K = 300, 30, 4


def asked(rng: np.random.Generator, *, telling: float, actions: int = 1) -> Judged:
    """Requests whose outcome follows from the second feature as much as `telling`; the logits are noise."""
    features = rng.normal(size=(Q, C, K)).astype(np.float32)
    chances = telling * features[..., 1] + rng.gumbel(size=(Q, C))
    rows = np.tile(np.arange(C), (Q, 1))
    logits = rng.normal(size=(Q, C, actions)).astype(np.float32) - 3
    return Judged(logits, features, rows, chances.argmax(axis=1).astype(np.int64))


@pytest.mark.parametrize("actions", [1, 2])
def test_what_tells_beside_the_ranker_is_found_and_lifts_what_happened(actions: int) -> None:
    rng = np.random.default_rng(0)

    line = correction_of(asked(rng, telling=3, actions=actions), rng)

    assert line is not None
    others = asked(rng, telling=3, actions=actions)
    before = gains_of(others.rows, engaged(torch.from_numpy(others.logits)).numpy(), others.targets).mean()
    assert gains_of(others.rows, line.wanted(others), others.targets).mean() > 3 * before
    assert line.weights[1] > 5 * np.abs(line.weights[[0, 2, 3]]).max()


def test_where_nothing_tells_the_ranker_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)

    assert correction_of(asked(rng, telling=0), rng) is None


def test_a_ranker_that_is_right_already_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    judged = asked(rng, telling=3)

    assert correction_of(replace(judged, logits=6 * judged.features[..., 1:2]), rng) is None


def test_too_few_outcomes_among_the_candidates_tell_nothing() -> None:
    rng = np.random.default_rng(0)
    judged = asked(rng, telling=3)
    targets = np.where(np.arange(Q) < LEAST_REQUESTS - 1, judged.targets, C)

    assert correction_of(replace(judged, targets=targets), rng) is None


def test_places_behind_the_end_of_a_list_take_no_part() -> None:
    rng = np.random.default_rng(0)
    judged = asked(rng, telling=3)
    judged.rows[:, C // 2 :] = -1
    judged.features[:, C // 2 :, 1] = 60  # would win everything

    line = correction_of(judged, rng)

    assert line is not None
    assert line.weights[1] > 0


def test_the_corrected_network_gives_the_line_over_its_former_logits() -> None:
    model = ranker()
    asking = request(0, 12, 9, explain=True)
    seen: list[Floats] = []
    model.on_features = seen.append
    (before,) = model.score([asking])
    line = Correction(1.7, np.linspace(-1, 1, len(NAMES)).astype(np.float32))

    line.put_into(model.parts.network)

    (after,) = model.score([asking])
    assert before.parts is not None
    assert after.parts is not None
    expected = 1.7 * before.parts.values.sum(-1) + (seen[0] @ line.weights)[:, None]
    np.testing.assert_allclose(after.parts.values.sum(-1), expected, rtol=1e-4, atol=1e-4)
