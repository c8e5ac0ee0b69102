"""The ranker's network alone: users and candidates a second, share of a GPU's peak, and the latency of one user.

usage: python -m tests.benchmarks.gpu_bench [--device cuda] [--compile reduce-overhead] [--batch 1 --batch 32 …]

Made-up weights and users, every history full; d = 256, 4 blocks, 512 events, 512 candidates, bf16. Without a GPU it
runs a tiny network on the processor, which proves the script and nothing else. Model only: inputs lie on the device.
With copies: they come from the host for each batch, through pinned memory where there is a GPU, and the logits go back.

`--compile` gives the network to `torch.compile`; `reduce-overhead` makes it record CUDA graphs, one a batch size.

B users, L events, C candidates, K features, A actions, d width.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from services.ranking.replacement import replace_function
from shared.model.encoding import EVENT_CODES, GAP_BINS
from shared.model.item_tower import ItemTower
from shared.model.knowledge import NAMES
from shared.model.profile_tower import ProfileTower
from shared.model.ranker_network import Queries, RankerNetwork, RankerSettings
from shared.model.retriever import HistoryInputs, RetrieverSettings
from shared.model.transformer import Layout

H100_TFLOPS = 790.0
"""What one H100 reaches in bf16, not what its data sheet promises."""
BATCHES = (1, 8, 32, 128)
WARM_UP_ROUNDS = 5
ITEM_FEATURES, USER_FEATURES = 8, 8


@dataclass(frozen=True, slots=True)
class Shape:
    """Of the network and of a request."""

    width: int = 256
    heads: int = 4
    blocks: int = 4
    events: int = 512
    candidates: int = 512
    items: int = 100_000
    actions: int = 8

    @property
    def flops(self) -> float:
        """Of one user: projections and feed-forward layers of all tokens, attention to what each may see."""
        tokens = self.events + self.candidates
        attended = self.events**2 / 2 + self.events * self.candidates
        return self.blocks * (24 * self.width**2 * tokens + 4 * self.width * attended)


TINY = Shape(width=32, heads=2, blocks=2, events=16, candidates=16, items=500, actions=2)


class Batch(NamedTuple):
    """What the host sends for B users.

    Attributes:
        items, event_codes, gap_bins: (B · L,).
        lengths: (B,).
        id_rows: (B, C) candidates.
        knowledge: (B, C, K).
    """

    items: Tensor
    event_codes: Tensor
    gap_bins: Tensor
    lengths: Tensor
    id_rows: Tensor
    knowledge: Tensor


Forward = Callable[[Batch], Tensor]
"""From a batch on the device to the logits, (B, C, A)."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one batch size came to, without the copies and with them.

    Attributes:
        users: B.
        rate, rate_with_copies: users a second.
        p50_ms, p99_ms, p99_ms_with_copies: of a batch.
    """

    users: int
    rate: float
    p50_ms: float
    p99_ms: float
    rate_with_copies: float
    p99_ms_with_copies: float


def main() -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", choices=("default", "reduce-overhead", "max-autotune"), help="of torch.compile")
    parser.add_argument("--batch", type=int, action="append", help="users at once; may be given several times")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--peak-tflops", type=float, default=H100_TFLOPS, help="of the GPU in bf16")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    shape = Shape() if device.type == "cuda" else TINY
    rows = measured(shape, device, arguments.batch or BATCHES, arguments.seconds, arguments.compile)
    Console(width=150).print(_table(shape, device, rows, arguments))


def measured(
    shape: Shape, device: torch.device, batches: Sequence[int], seconds: float, compile_mode: str | None = None
) -> list[Row]:
    """One row a batch size.

    Args:
        shape: of network and requests.
        device: where it runs.
        batches: users at once.
        seconds: of each measurement.
        compile_mode: of `torch.compile`; None: as it is.
    """
    torch.manual_seed(0)
    forward = made_up_network(shape, device)
    if compile_mode:
        _make_traceable()
    with torch.inference_mode():
        rows = []
        for users in batches:
            batch = made_up_batch(shape, users)
            answered = _compiled(forward, _sent(batch, device), compile_mode) if compile_mode else forward
            rows.append(_row(answered, batch, device, seconds))
        return rows


def made_up_network(shape: Shape, device: torch.device) -> Forward:
    """An untrained network in bf16 and its items' vectors, on the device."""
    encoder = RetrieverSettings(
        width=shape.width, heads=shape.heads, blocks=shape.blocks, dropout=0.0, history_limit=shape.events
    )
    settings = RankerSettings(encoder=encoder, actions=shape.actions, features=len(NAMES))
    tower = ItemTower(shape.items, ITEM_FEATURES, (), shape.width)
    network = RankerNetwork(settings, tower, ProfileTower(USER_FEATURES, shape.width)).eval()
    network = network.to(device, torch.bfloat16)
    raw = torch.randn(shape.items, shape.width, device=device, dtype=torch.bfloat16)  # (M, d)

    def forward(batch: Batch) -> Tensor:
        inputs = HistoryInputs(batch.items, batch.event_codes, batch.gap_bins, batch.lengths)
        encoded = network.encode_latest(inputs, raw)
        biases = network.item_bias(batch.id_rows)
        queries = Queries(
            batch.lengths[:, None], raw[batch.id_rows][:, None], biases[:, None], batch.knowledge[:, None]
        )
        return network(encoded, queries)[:, 0].sum(-1)

    return forward


def made_up_batch(shape: Shape, users: int) -> Batch:
    """Users with full histories, in the host's memory."""
    events = users * shape.events
    return Batch(
        torch.randint(shape.items, (events,)),
        torch.randint(EVENT_CODES, (events,)),
        torch.randint(GAP_BINS, (events,)),
        torch.full((users,), shape.events),
        torch.randint(shape.items, (users, shape.candidates)),
        torch.rand(users, shape.candidates, len(NAMES), dtype=torch.bfloat16),
    )


def _compiled(forward: Forward, batch: Batch, mode: str) -> Forward:
    """Compiled for the shape of a batch, as one graph."""
    forward(batch)  # makes the layout and the tables, outside of the graph
    return torch.compile(forward, mode=mode, dynamic=False, fullgraph=True)


def _row(forward: Forward, batch: Batch, device: torch.device, seconds: float) -> Row:
    users, on_gpu = len(batch.lengths), device.type == "cuda"
    host = Batch(*(column.pin_memory() for column in batch)) if on_gpu else batch
    there = _sent(host, device)
    back = torch.empty_like(forward(there), device="cpu", pin_memory=on_gpu)
    alone = _took(lambda: forward(there), device, seconds)
    copied = _took(lambda: back.copy_(forward(_sent(host, device)), non_blocking=True), device, seconds)
    p50, p99 = np.percentile(alone, (50, 99)) * 1e3
    return Row(
        users=users,
        rate=users / float(np.mean(alone)),
        p50_ms=float(p50),
        p99_ms=float(p99),
        rate_with_copies=users / float(np.mean(copied)),
        p99_ms_with_copies=float(np.percentile(copied, 99) * 1e3),
    )


def _sent(batch: Batch, device: torch.device) -> Batch:
    """A copy on the device; from pinned memory it is only begun."""
    return Batch(*(column.to(device, non_blocking=True) for column in batch))


def _took(work: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    """Seconds of each round, the device's work waited for."""
    for _ in range(WARM_UP_ROUNDS):
        work()
    _wait(device)
    took, end = [], time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        work()
        _wait(device)
        took.append(time.perf_counter() - began)
    return took


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _make_traceable() -> None:
    """Take what cannot be traced out of the network's way: here all histories of a batch size are of one length.

    `Layout.of` asks the device for the longest history, and no graph can be recorded around a question to it; so each
    batch size keeps the layout of its first batch.
    """
    of, made = Layout.of, {}

    def kept(lengths: Tensor) -> Layout:
        return made[len(lengths)] if len(lengths) in made else made.setdefault(len(lengths), of(lengths))

    replace_function(Layout, "of", kept)


def _table(shape: Shape, device: torch.device, rows: Sequence[Row], arguments: argparse.Namespace) -> Table:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "processor, tiny network: no result"
    title = f"{name}; {shape}; {shape.flops / 1e9:.3g} GFLOP a user; torch {torch.__version__}; {arguments.compile}"
    columns = ("users at once", "users/s", "candidates/s", f"share of {arguments.peak_tflops:g} TFLOP/s", "p50 ms")
    table = Table(*columns, "p99 ms", "users/s with copies", "p99 ms with copies", title=title, box=box.MARKDOWN)
    for row in rows:
        share = row.rate * shape.flops / (arguments.peak_tflops * 1e12)
        table.add_row(
            str(row.users), f"{row.rate:,.0f}", f"{row.rate * shape.candidates:,.0f}", f"{share:.2%}",
            f"{row.p50_ms:.2f}", f"{row.p99_ms:.2f}", f"{row.rate_with_copies:,.0f}", f"{row.p99_ms_with_copies:.2f}",
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
