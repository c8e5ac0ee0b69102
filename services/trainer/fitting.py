"""One training loop for every network: AdamW, warm-up, an average of the weights, early stopping, resume.

What is validated and kept is a running average of the weights (Polyak & Juditsky 1992): on small data it gains more
than a falling learning rate and needs no horizon. All randomness of an epoch follows from (seed, epoch), so a run that
was killed and resumed ends with the same weights as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from services.trainer.checkpoints import Checkpoint, Checkpoints
from services.trainer.progress import Progress

Batch = TypeVar("Batch")

_EVERY_STEPS = 10  # between two calls of the progress callback


class TrainingDivergedError(RuntimeError):
    """The loss is no number any more; the message says where and what to change."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """How a network is fitted.

    Attributes:
        stage: name for progress, checkpoints and messages.
        seed: of everything random.
        learning_rate, weight_decay: of AdamW; norms, biases and single vectors do not decay.
        warmup_steps: the learning rate grows linearly over the first ones.
        average: weight of the past in the running average of the weights.
        max_epochs: stop after so many.
        patience: stop after so many epochs without a better validation; 0 = never (the last epoch is kept).
        clip: the gradient's norm is cut to this.
        least_steps: an epoch goes over small data again until it has made so many.
        most_steps: an epoch ends after so many, also within the data; 0 = with them.
        judge_start: validate before the first epoch too: what was given is kept if nothing is better.
    """

    stage: str
    seed: int
    learning_rate: float
    weight_decay: float = 0.01
    warmup_steps: int = 100
    average: float = 0.999
    max_epochs: int = 30
    patience: int = 3
    clip: float = 1.0
    least_steps: int = 50
    most_steps: int = 0
    judge_start: bool = False


class Task(Protocol[Batch]):
    """What is fitted: a network with its data."""

    @property
    def network(self) -> nn.Module:
        """The network."""

    def batches(self, rng: np.random.Generator) -> Iterable[Batch]:
        """The batches of one epoch; made as they are asked for, so that memory follows the batch and not the data."""

    def loss(self, batch: Batch) -> Tensor:
        """The loss of one batch, a scalar."""

    def validate(self) -> float:
        """How good the network is now; greater is better, NaN when there is nothing to validate on."""


@dataclass(frozen=True, slots=True)
class FitReport:
    """What came of it.

    Attributes:
        epochs: how many ran.
        best_epoch: the one that was kept, from 1; 0 = what was given.
        best: its validation.
        losses, validations: by epoch.
    """

    epochs: int
    best_epoch: int
    best: float
    losses: tuple[float, ...]
    validations: tuple[float, ...]


@dataclass(slots=True)
class _State:
    """Everything that a resumed run needs beside the optimizer."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best: float = -math.inf
    losses: list[float] = field(default_factory=list)
    validations: list[float] = field(default_factory=list)


def fit(task: Task[Batch], settings: FitSettings, checkpoints: Checkpoints | None, progress: Progress) -> FitReport:
    """Train until validation stops improving; the network then holds the best average of its weights.

    Raises:
        TrainingDivergedError: the loss became NaN or infinite; the last good checkpoint is kept.
    """
    return _Fitting(task, settings, checkpoints, progress).run()


def adamw(network: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with every trainable parameter in exactly one group: matrices decay, the rest does not."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if parameter.ndim > 1]
    rest = [parameter for parameter in trainable if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))


class _Fitting(Generic[Batch]):
    def __init__(
        self, task: Task[Batch], settings: FitSettings, checkpoints: Checkpoints | None, progress: Progress
    ) -> None:
        self.task, self.settings, self.checkpoints, self.progress = task, settings, checkpoints, progress
        self.parameters = [parameter for parameter in task.network.parameters() if parameter.requires_grad]
        self.optimizer = adamw(task.network, settings.learning_rate, settings.weight_decay)
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        self.kept = [tensor.clone() for tensor in self.average]
        self.state = _State()

    def run(self) -> FitReport:
        self._resume()
        if self.settings.judge_start and not self.state.epoch:
            self._judge(self._measured())
        while not self._finished():
            self._epoch()
            self._validate()
            self._save()
        _copy(self.kept, self.parameters)
        state = self.state
        return FitReport(state.epoch, state.best_epoch, state.best, tuple(state.losses), tuple(state.validations))

    def _finished(self) -> bool:
        patience, state = self.settings.patience, self.state
        stale = patience > 0 and state.epoch - state.best_epoch >= patience
        return state.epoch >= self.settings.max_epochs or stale

    def _epoch(self) -> None:
        settings, state = self.settings, self.state
        torch.manual_seed(settings.seed * 100_003 + state.epoch)  # dropout knows no generator of its own
        rng = np.random.default_rng([settings.seed, state.epoch])
        total, made = 0.0, 0
        expected = state.step / state.epoch if state.epoch else settings.most_steps or math.inf
        self.task.network.train()
        for made, batch in enumerate(self._batches(rng), start=1):
            total += self._step(batch)
            if made % _EVERY_STEPS == 1:
                done = (state.epoch + min(1.0, made / expected)) / settings.max_epochs
                self.progress(settings.stage, done, f"epoch {state.epoch + 1}")
        state.losses.append(total / max(1, made))
        state.epoch += 1

    def _batches(self, rng: np.random.Generator) -> Iterator[Batch]:
        """Those of one epoch; small data are gone over again."""
        settings, made, before = self.settings, 0, -1
        while before < made and (not before + 1 or made < settings.least_steps):
            before = made
            for batch in self.task.batches(rng):
                yield batch
                made += 1
                if made == settings.most_steps:
                    return

    def _step(self, batch: Batch) -> float:
        state, settings = self.state, self.settings
        warm = min(1.0, (state.step + 1) / max(1, settings.warmup_steps))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * warm
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.task.loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingDivergedError(
                f"{settings.stage} diverged: the loss is {value} in epoch {state.epoch + 1}, step {state.step + 1} "
                f"(learning rate {settings.learning_rate:g}); use a smaller learning rate or look for extreme values. "
                f"The last good checkpoint is of epoch {state.epoch}."
            )
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own signature
        nn.utils.clip_grad_norm_(self.parameters, settings.clip)
        self.optimizer.step()
        state.step += 1
        # A young average forgets its start quickly: 1 - 9 / (10 + step) at first.
        weight = min(settings.average, (1 + state.step) / (10 + state.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - weight)
        return value

    def _validate(self) -> None:
        state, measured = self.state, self._measured()
        state.validations.append(measured)
        self.progress(
            self.settings.stage,
            state.epoch / self.settings.max_epochs,
            f"epoch {state.epoch}: loss {state.losses[-1]:.4f}, validation {measured:.4f}",
        )
        self._judge(measured)

    def _measured(self) -> float:
        with self._averaged():
            self.task.network.eval()
            return self.task.validate()

    def _judge(self, measured: float) -> None:
        state = self.state
        if self.settings.patience == 0 or not measured <= state.best:  # NaN counts as better: nothing to compare
            state.best, state.best_epoch = measured, state.epoch
            _copy(self.average, self.kept)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        raw = [parameter.detach().clone() for parameter in self.parameters]
        _copy(self.average, self.parameters)
        try:
            yield
        finally:
            _copy(raw, self.parameters)

    def _save(self) -> None:
        if self.checkpoints is None:
            return
        tensors = {f"{part}.{number}": tensor.detach() for part, tensors in self._tensors().items()
                   for number, tensor in enumerate(tensors)}  # fmt: skip
        self.checkpoints.save(self.settings.stage, Checkpoint(tensors, asdict(self.state)))

    def _resume(self) -> None:
        found = self.checkpoints.load(self.settings.stage) if self.checkpoints else None
        if found is None:
            return
        self._prime_optimizer()
        with torch.no_grad():
            for part, tensors in self._tensors().items():
                for number, tensor in enumerate(tensors):
                    tensor.copy_(found.tensors[f"{part}.{number}"])
        self.state = _State(**found.facts)

    def _prime_optimizer(self) -> None:
        """Make AdamW create its state, so that it can be overwritten."""
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def _tensors(self) -> dict[str, list[Tensor]]:
        moments: dict[str, list[Tensor]] = {"exp_avg": [], "exp_avg_sq": [], "step": []}
        for parameter in self.parameters:
            held = self.optimizer.state[parameter]
            for name, tensors in moments.items():
                tensors.append(held[name] if name in held else torch.zeros(()))
        return {"parameters": list(self.parameters), "average": self.average, "kept": self.kept, **moments}


def _copy(source: list[Tensor], target: list[Tensor] | list[nn.Parameter]) -> None:
    with torch.no_grad():
        for to, come in zip(target, source, strict=True):
            to.copy_(come)
