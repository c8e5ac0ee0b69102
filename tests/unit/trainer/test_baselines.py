"""Each baseline on worlds whose answer is known, and each formula against its plain form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from services.trainer.baselines import als, ease
from services.trainer.baselines.neighbours import cosine_similarities
from services.trainer.baselines.popularity import RecentPopularity
from services.trainer.baselines.registry import BASELINES, fit_baseline
from services.trainer.baselines.scoring import MAX_EVENTS_PER_USER, TrainingSet, history_matrix
from services.trainer.baselines.transitions import TransitionScorer, transition_counts
from services.trainer.datasets import Dataset, DatasetError
from services.trainer.datasets_ragged import Ragged
from services.trainer.evaluation import batches, evaluate
from services.trainer.splits import Split, leave_one_out, time_split
from shared.domain.events import EventType
from tests.unit.trainer.data_worlds import DAY_S, checkerboard, dataset_of, random_dataset, sequences_dataset

PERSONAL = sorted(set(BASELINES) - {"popularity", "popularity-last-days"})


def stages(data: Dataset) -> tuple[Split, Split]:
    return leave_one_out(data), leave_one_out(data, "validation")


@pytest.mark.parametrize("name", PERSONAL)
def test_a_personal_baseline_stays_on_the_colour_of_its_user(name: str) -> None:
    data = checkerboard()
    split, validation = stages(data)

    lists = evaluate(fit_baseline(name, split, validation).recommender, split, k=3).lists

    users = np.array([int(data.users.ids[row][1:]) for row in split.user_rows])
    items = np.array([int(name[1:]) for name in data.items.ids])[lists]
    assert np.array_equal(items % 2, np.repeat(users[:, None] % 2, 3, axis=1))


@pytest.mark.parametrize("name", sorted(BASELINES))
@pytest.mark.parametrize("by_time", [False, True])
def test_every_baseline_gives_full_lists_on_both_splits(name: str, by_time: bool) -> None:
    data = random_dataset(np.random.default_rng(1))
    split, validation = (time_split(data), time_split(data, stage="validation")) if by_time else stages(data)

    fitted = fit_baseline(name, split, validation)
    measured = evaluate(fitted.recommender, split)

    assert np.all(measured.lists >= 0)
    assert measured.name == name
    assert not fitted.tried or fitted.tried[fitted.setting] == max(fitted.tried.values())


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_every_baseline_takes_the_smallest_world(name: str) -> None:
    split, validation = stages(sequences_dataset({"u": "abcd"}))

    measured = evaluate(fit_baseline(name, split, validation).recommender, split, k=2)

    # Of the one item that is left, the list; the second place has nothing to fill it.
    assert measured.lists.tolist() == [[3, -1]]


def test_an_unknown_baseline_is_one_error_that_lists_the_known() -> None:
    split, validation = stages(sequences_dataset({"u": "abcd"}))

    with pytest.raises(DatasetError, match="no baseline 'magic'; known are ease, ease-decayed, ials, item-knn"):
        fit_baseline("magic", split, validation)


def test_tuning_looks_at_validation_and_never_at_the_test() -> None:
    data = random_dataset(np.random.default_rng(3))
    split, validation = stages(data)
    other_test = split.sampled(5, np.random.default_rng(0))

    assert fit_baseline("transitions", split, validation).setting == (
        fit_baseline("transitions", other_test, validation).setting
    )


def test_impressions_teach_nothing_and_count_for_nothing_in_a_history() -> None:
    data = sequences_dataset({"u": "abcd", "v": "abcd"})
    data.interactions.event_types[data.interactions.item_rows == data.items.row("b")] = EventType.IMPRESSION
    split, _ = stages(data)

    (requests,) = batches(split)

    assert TrainingSet.of(split).popularity.tolist() == [2, 0, 0, 0]
    assert history_matrix(requests, 0.5).toarray()[0].tolist() == [0.25, 0, 1, 0]


def test_a_repeated_item_weighs_as_its_last_event_or_as_all_of_them() -> None:
    split = leave_one_out(sequences_dataset({"u": "abax"}))
    (requests,) = batches(split)

    assert history_matrix(requests, 0.5).toarray()[0].tolist() == [1, 0.5, 0]
    assert history_matrix(requests, 0.5, repeats=True).toarray()[0].tolist() == [1.25, 0.5, 0]


def test_very_long_histories_are_cut_to_their_end() -> None:
    data = dataset_of([("u", f"i{n}", float(n)) for n in range(MAX_EVENTS_PER_USER + 7)] + [("v", "i0", 0.5)])
    training = TrainingSet(data.interactions, len(data.items))

    sequences = training.sequences()

    assert sequences.lengths.tolist() == [MAX_EVENTS_PER_USER, 1]
    assert data.items.ids[sequences[0][-1]] == f"i{MAX_EVENTS_PER_USER + 6}"
    assert training.popularity.sum() == MAX_EVENTS_PER_USER + 8


def test_transitions_count_one_over_the_distance_within_a_user_only() -> None:
    sequences = Ragged(np.array([0, 1, 2, 0, 1, 2, 0]), np.array([0, 4, 7]))

    counts = transition_counts(sequences, 3).toarray()

    # 0→1→2→0 and 1→2→0; nothing from the first user's last item to the second's first.
    assert counts == pytest.approx(np.array([[1 / 3, 1, 1 / 2], [1 / 2 + 1 / 2, 0, 1 + 1], [1 + 1, 0, 0]]))


def test_transitions_end_at_the_twentieth_event_after() -> None:
    counts = transition_counts(Ragged(np.arange(23), np.array([0, 23])), 23).toarray()

    assert counts[0, 20] == pytest.approx(1 / 20)
    assert counts[0, 21] == counts[0, 22] == 0


def test_the_transition_score_is_its_formula() -> None:
    data = random_dataset(np.random.default_rng(8), users=12, items=9, events=80)
    split = leave_one_out(data)
    training = TrainingSet.of(split)
    counts = transition_counts(training.sequences(), training.items_count)
    popularity = np.maximum(training.popularity, 1).astype(np.float32)
    (requests,) = batches(split)

    scores = TransitionScorer(counts, popularity, 0.6, 0.5).scores(requests)

    for user in range(len(requests)):
        history = requests.histories[user][::-1]
        plain = sum((0.6**age * counts.toarray()[item] for age, item in enumerate(history)), np.zeros(9))
        expected = plain / popularity**0.5
        assert scores[user] == pytest.approx(np.where(expected > 0, expected, -np.inf), rel=1e-5)


def test_recent_popularity_counts_only_its_window_before_the_end_or_the_request() -> None:
    old = [(f"o{n}", "classic", float(n)) for n in range(5)]
    new = [(f"n{n}", "hit", 10 * DAY_S + n) for n in range(3)]
    data = dataset_of([*old, *new, ("u", "x", 1.5), ("u", "y", 3.0), ("u", "z", 3.5)])
    split = leave_one_out(data)
    variants = RecentPopularity().fit(TrainingSet.of(split))
    (requests,) = batches(split)

    at_end = variants["last 3 days of train"]().scores(requests)[0]
    at_request = variants["last 3 days at request"]().scores(requests)[0]

    assert at_end[data.items.row("hit")] == 3
    assert at_end[data.items.row("classic")] == -np.inf
    assert at_request[data.items.row("hit")] == -np.inf
    assert at_request[data.items.row("classic")] == 4  # those at 0, 1, 2 and 3, the request being at 3


def test_similarities_are_cosines_of_the_columns() -> None:
    matrix = (np.random.default_rng(0).random((30, 6)) < 0.4).astype(np.float32)

    similar = cosine_similarities(sparse.csr_array(matrix)).toarray()

    norms = np.linalg.norm(matrix, axis=0)
    expected = matrix.T @ matrix / np.outer(norms, norms)
    np.fill_diagonal(expected, 0)
    assert similar == pytest.approx(expected, abs=1e-6)


def test_ease_solves_its_constrained_least_squares() -> None:
    training = TrainingSet.of(leave_one_out(random_dataset(np.random.default_rng(2), users=40, items=12, events=300)))
    matrix = training.user_item_matrix().toarray().astype(np.float64)

    weights = ease.ease_weights(training, 3.0)

    # The gradient of |X - XB|² + λ|B|² vanishes everywhere off the diagonal, which is held at 0.
    gradient = matrix.T @ (matrix @ weights - matrix) + 3.0 * weights
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-3
    assert np.all(np.diag(weights) == 0)


def test_ease_refuses_a_catalogue_that_is_too_large_before_it_fills_the_memory() -> None:
    training = TrainingSet(random_dataset(np.random.default_rng(0)).interactions, ease.MAX_ITEMS + 1)

    with pytest.raises(DatasetError, match="takes at most 20,000 of them, here are 20,001; use item-knn"):
        ease.Ease().fit(training)


def test_als_factors_solve_the_normal_equations_of_their_row() -> None:
    rng = np.random.default_rng(6)
    matrix = sparse.csr_array((rng.random((20, 15)) < 0.3).astype(np.float32))
    opposite = rng.normal(size=(15, 8)).astype(np.float32)
    settings = als.AlsSettings(factors=8, unobserved=0.1, penalty=0.05)

    factors = als.solved(matrix, opposite, settings)

    for row in range(20):
        had = opposite[matrix.toarray()[row] > 0]
        system = 0.1 * opposite.T @ opposite + had.T @ had + 0.05 * (len(had) + 0.1 * 15) * np.eye(8)
        assert factors[row] == pytest.approx(np.linalg.solve(system, had.sum(axis=0)), abs=1e-3)


def test_als_repeats_with_its_seed() -> None:
    split, _ = stages(random_dataset(np.random.default_rng(4)))
    (requests,) = batches(split)
    label = next(iter(als.ImplicitAls().fit(TrainingSet.of(split))))

    first, again, other = (
        als.ImplicitAls(seed).fit(TrainingSet.of(split))[label]().scores(requests) for seed in (1, 1, 2)
    )

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
