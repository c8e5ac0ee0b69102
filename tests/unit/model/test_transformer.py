"""Packed equals padded, shared keys and values equal naive attention, and dropout keeps the mean."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shared.model.transformer import Attention, Block, Dropout, Layout, distance_bins

D, H = 16, 2


@pytest.fixture
def block() -> Block:
    torch.manual_seed(1)
    made = Block(D, H, dropout=0.5).eval()
    torch.nn.init.normal_(made.attention.distance)
    return made


def test_packed_histories_equal_each_history_alone(block: Block) -> None:
    lengths = torch.tensor([5, 1, 9, 3])
    tokens = torch.randn(18, D)

    together, _, _ = block.history(tokens, Layout.of(lengths))

    alone = [block.history(part, Layout.of(torch.tensor([len(part)])))[0] for part in tokens.split(lengths.tolist())]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_the_latest_tokens_are_those_of_the_whole_histories(block: Block) -> None:
    layout = Layout.of(torch.tensor([5, 1, 9]))
    tokens = torch.randn(15, 16)

    whole, keys, values = block.history(tokens, layout)
    latest, latest_keys, latest_values = block.latest(tokens, layout)

    assert torch.allclose(latest, whole[[4, 5, 14]], atol=1e-6)
    assert torch.allclose(latest_keys, keys, atol=1e-6)
    assert torch.allclose(latest_values, values, atol=1e-6)


def test_a_token_does_not_see_later_ones(block: Block) -> None:
    tokens = torch.randn(6, D)
    changed = tokens.clone()
    changed[4:] += 1

    before, _, _ = block.history(tokens, Layout.of(torch.tensor([6])))
    after, _, _ = block.history(changed, Layout.of(torch.tensor([6])))

    assert torch.allclose(before[:4], after[:4], atol=1e-6)
    assert not torch.allclose(before[4:], after[4:], atol=1e-2)


def naive_candidates(attention: Attention, history: Tensor, candidates: Tensor) -> Tensor:
    """Full attention over history and candidates together, with a mask that isolates the candidates."""
    length, count = len(history), len(candidates)
    q, k, v = attention.project(torch.cat([history, candidates]))  # (L + C, H, D)
    place = torch.cat([torch.arange(length), torch.full((count,), length)])
    distances = place[:, None] - place[None, :]
    allowed = distances >= 0
    allowed[length:, length:] = torch.eye(count, dtype=torch.bool)
    scores = torch.einsum("qhd,khd->hqk", q, k) * (D // H) ** -0.5
    scores = (scores + attention.distance[:, distance_bins(distances.clamp(min=0))]).masked_fill(~allowed, -torch.inf)
    mixed = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v)
    out: Tensor = attention.out(mixed.flatten(-2))
    return out[length:]


def test_shared_keys_and_values_equal_full_attention_with_an_isolation_mask(block: Block) -> None:
    attention, history, candidates = block.attention, torch.randn(7, D), torch.randn(5, D)
    _, keys, values = attention.causal(history, Layout.of(torch.tensor([7])))
    distances = (7 - torch.arange(7))[None, None]

    shared = attention.candidate(candidates[None, None], keys, values, distances)

    assert torch.allclose(shared[0, 0], naive_candidates(attention, history, candidates), atol=1e-5)


def test_a_candidate_is_scored_alike_alone_and_in_company(block: Block) -> None:
    _, keys, values = block.history(torch.randn(7, D), Layout.of(torch.tensor([7])))
    candidates, distances = torch.randn(1, 1, 20, D), (7 - torch.arange(7))[None, None]

    together = block.candidates(candidates, keys, values, distances)
    alone = [block.candidates(candidates[:, :, place : place + 1], keys, values, distances) for place in range(20)]

    assert torch.allclose(together, torch.cat(alone, dim=2), atol=1e-5)


def test_a_request_in_the_middle_of_a_history_sees_only_what_had_happened(block: Block) -> None:
    history, candidates = torch.randn(9, D), torch.randn(1, 1, 4, D)
    _, keys, values = block.history(history, Layout.of(torch.tensor([9])))
    _, short_keys, short_values = block.history(history[:5], Layout.of(torch.tensor([5])))

    early = block.candidates(candidates, keys, values, (5 - torch.arange(9))[None, None])
    alone = block.candidates(candidates, short_keys, short_values, (5 - torch.arange(5))[None, None])

    assert torch.allclose(early, alone, atol=1e-5)


def test_distances_are_exact_when_near_and_grouped_when_far() -> None:
    bins = distance_bins(torch.tensor([0, 1, 15, 16, 17, 64, 240, 10_000]))

    assert bins.tolist() == [0, 1, 15, 16, 16, 24, 31, 31]


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match="width 16 is not a multiple of 3 heads"):
        Attention(16, 3)


def test_dropout_hides_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    dropout = Dropout(0.25).train()

    out = dropout(torch.ones(100_000))

    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert float(out.mean()) == pytest.approx(1, abs=0.01)


def test_dropout_is_off_outside_training_and_repeats_by_seed() -> None:
    dropout, values = Dropout(0.5), torch.randn(3, 7)
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        draws.append(dropout.train()(values))

    assert torch.equal(draws[0], draws[1])
    assert torch.equal(dropout.eval()(values), values)
