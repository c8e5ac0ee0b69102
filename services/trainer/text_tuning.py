"""Fine-tuning of a text encoder's last layers, before anything else is learned: what was taken together lies together.

Two items that a user took one soon after the other are a pair; each text is to find its partner among those of the
batch (van den Oord et al. 2018, InfoNCE), in both directions. A partner that is popular comes often by chance, so the
log of its share is taken off (logQ). Users that are kept aside judge: the layers stay only when their pairs, which the
encoder has not seen, find each other better than before. Only events that may be learned from make pairs.

P pairs, U users, E events.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from services.trainer.datasets import Dataset, DatasetError, Interactions
from services.trainer.fitting import FitSettings, fit
from services.trainer.progress import Progress
from services.trainer.sequences import TARGETS
from shared.domain.items import Item
from shared.model.content import TextReader
from shared.model.content_tuned import TunedLayers

if TYPE_CHECKING:
    from shared.model.content_huggingface import HuggingFaceEncoder

STAGE = "text encoder"
LEAST_PAIRS = 64
MOST_JUDGED = 1_024
_JUDGED_USERS = 0.1
_JUDGED_TOGETHER = 64

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TextTuningSettings:
    """How a text encoder is fine-tuned.

    Attributes:
        layers: of its last blocks that learn; 0: none, the encoder stays as it came.
        pairs: that an epoch looks at.
        epochs: at most; judging may end it earlier.
        batch_pairs: pairs that are told apart from each other.
        reach: events of a user that lie between the two of a pair at most, and one.
        learning_rate: of AdamW.
        temperature: of the cosines.
    """

    layers: int = 0
    pairs: int = 5_000
    epochs: int = 3
    batch_pairs: int = 32
    reach: int = 3
    learning_rate: float = 1e-4
    temperature: float = 0.05


@dataclass(frozen=True, slots=True)
class TextTuning:
    """What came of it.

    Attributes:
        layers: the tuned ones; None: they were no better, and the encoder stays as it came.
        pairs: that there were to learn from.
        before, after: mean reciprocal rank of the judged pairs' partners among `_JUDGED_TOGETHER`.
    """

    layers: TunedLayers | None
    pairs: int
    before: float
    after: float


def tuned_text(
    dataset: Dataset, train: Interactions, encoder: HuggingFaceEncoder, settings: TextTuningSettings, told: Told
) -> TextTuning:
    """Tune a copy of the encoder on the texts of a data set.

    Args:
        dataset: whose items.
        train: the events that may be learned from.
        encoder: stays as it is.
        settings: how.
        told: seed and progress.

    Raises:
        DatasetError: the encoder has fewer layers, or too few items with a text were taken together.
        TrainingDivergedError: the loss is no number any more.
    """
    pairs = Pairs.of(train, np.array([bool(text) for text in texts_of(dataset.item_details)]), settings.reach)
    learned, judged = pairs.divided(np.random.default_rng(told.seed))
    if len(learned) < LEAST_PAIRS or not len(judged):
        raise DatasetError(
            f"{dataset.name} has {len(pairs)} pairs of items with a text that somebody took together; tuning a text "
            f"encoder takes more. Leave out --tune-text-layers"
        )
    copy = encoder.with_layers(None)
    if settings.layers > (there := copy.network.config.num_hidden_layers):
        raise DatasetError(f"{encoder.encoder_id} has {there} layers; {settings.layers} cannot be tuned")
    torch.manual_seed(told.seed)
    task = _TextTask(copy, texts_of(dataset.item_details), (learned, judged), settings)
    copy.network.eval()
    before = task.validate()
    how = FitSettings(
        STAGE, told.seed, settings.learning_rate, warmup_steps=20, average=0.98, max_epochs=settings.epochs, patience=2,
        least_steps=0, judge_start=True,
    )  # fmt: skip
    report = fit(task, how, None, told.progress)
    layers = copy.tuned_layers(settings.layers) if report.best_epoch else None
    return TextTuning(layers, len(learned), before, report.best)


@dataclass(frozen=True, slots=True)
class Told:
    """Where the randomness comes from, and who is told."""

    seed: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class Pairs:
    """Items that a user took one soon after the other.

    Attributes:
        firsts, seconds: (P,) item rows.
        users: (P,) who took them.
    """

    firsts: Rows
    seconds: Rows
    users: Rows

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of(cls, events: Interactions, has_text: npt.NDArray[np.bool_], reach: int) -> Pairs:
        """All of the events that tell a wish; `has_text` by item row."""
        wished = events.take(np.isin(events.event_types, TARGETS) & has_text[events.item_rows])
        order = wished.by_user().order
        users, items = wished.user_rows[order].astype(np.int64), wished.item_rows[order].astype(np.int64)
        found = []
        for distance in range(1, min(reach, max(0, len(users) - 1)) + 1):
            same = (users[:-distance] == users[distance:]) & (items[:-distance] != items[distance:])
            found.append((items[:-distance][same], items[distance:][same], users[distance:][same]))
        if not found:
            return cls(*(np.zeros(0, np.int64) for _ in range(3)))
        return cls(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def divided(self, rng: np.random.Generator) -> tuple[Pairs, Pairs]:
        """Those to learn from, and those of other users to judge by, in random order."""
        names = np.unique(self.users)
        aside = rng.choice(names, min(len(names), max(1, round(len(names) * _JUDGED_USERS))), replace=False)
        judged = np.isin(self.users, aside)
        chosen = rng.permutation(np.flatnonzero(judged))[:MOST_JUDGED]
        return self.take(np.flatnonzero(~judged)), self.take(chosen)

    def take(self, rows: Rows) -> Pairs:
        """Some of them."""
        return Pairs(self.firsts[rows], self.seconds[rows], self.users[rows])


def texts_of(items: tuple[Item, ...]) -> list[str]:
    """What the encoder reads of each item."""
    reader = TextReader()
    return [reader.read(item).decode() for item in items]


class _TextTask:
    """The encoder with its pairs, for `fitting.fit`."""

    def __init__(
        self, encoder: HuggingFaceEncoder, texts: list[str], pairs: tuple[Pairs, Pairs], settings: TextTuningSettings
    ) -> None:
        self._encoder, self._texts, self._settings = encoder, texts, settings
        self._learned, self._judged = pairs
        self.network: Any = encoder.network
        self.network.requires_grad_(requires_grad=False)
        for block in encoder.layers(settings.layers).values():
            block.requires_grad_(requires_grad=True)
        ends = np.concatenate([self._learned.firsts, self._learned.seconds])
        shares = np.bincount(ends, minlength=len(texts)) / len(ends)
        self._log_shares = torch.from_numpy(np.log(np.maximum(shares, 1 / len(ends))).astype(np.float32))

    def batches(self, rng: np.random.Generator) -> Iterator[Pairs]:
        """Random pairs, each at most once."""
        chosen = rng.permutation(len(self._learned))[: self._settings.pairs]
        for start in range(0, len(chosen), self._settings.batch_pairs):
            yield self._learned.take(chosen[start : start + self._settings.batch_pairs])

    def loss(self, batch: Pairs) -> Tensor:
        """Each finds its partner among the batch; what is the partner's equal is no wrong answer."""
        firsts, seconds = self._vectors(batch.firsts), self._vectors(batch.seconds)
        near = firsts @ seconds.T / self._settings.temperature  # (P, P)
        losses = (
            _partner_loss(near, batch.seconds, self._log_shares),
            _partner_loss(near.T, batch.firsts, self._log_shares),
        )
        return (losses[0] + losses[1]) / 2

    @torch.inference_mode()
    def validate(self) -> float:
        """The mean reciprocal rank of the judged partners among some others."""
        found = []
        for start in range(0, len(self._judged), _JUDGED_TOGETHER):
            some = self._judged.take(np.arange(start, min(start + _JUDGED_TOGETHER, len(self._judged))))
            near = self._vectors(some.firsts) @ self._vectors(some.seconds).T
            rivals = torch.from_numpy(some.seconds[None, :] != some.seconds[:, None])
            ranks = 1 + ((near > near.diagonal()[:, None]) & rivals).sum(dim=1)
            found.append((1 / ranks).numpy())
        return float(np.concatenate(found).mean())

    def _vectors(self, rows: Rows) -> Tensor:
        return self._encoder.pooled([self._texts[row] for row in rows.tolist()])


def _partner_loss(near: Tensor, partners: Rows, log_shares: Tensor) -> Tensor:
    rows = torch.from_numpy(partners)
    logits = near - log_shares[rows]
    repeats = (rows[None, :] == rows[:, None]) & ~torch.eye(len(rows), dtype=torch.bool)
    return cross_entropy(logits.masked_fill(repeats, -torch.inf), torch.arange(len(rows)))
