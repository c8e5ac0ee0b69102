"""Where a network runs and how precisely: the same code on a processor and on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, is_dataclass, replace
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Precision = Literal["float32", "bfloat16"]
D = TypeVar("D")


@dataclass(frozen=True, slots=True)
class Execution:
    """How a model is run.

    Attributes:
        device: of torch, e.g. `cpu` or `cuda`.
        precision: of products; sums, norms and what comes out stay float32.
        threads: of torch in this process.
        graphs: whether candidates are scored in fixed shapes, compiled, and on a GPU as CUDA graphs.
        cache_bytes: memory on the device for encoded histories that may be asked for again.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    threads: int = 1
    cache_bytes: int = 0
    graphs: bool = False

    def sent(self, values: npt.NDArray[Any] | Tensor) -> Tensor:
        """The values as a tensor on the device; to a GPU through pinned memory, without waiting for the copy."""
        tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
        if self.device == "cpu":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def all_sent(self, columns: D) -> D:
        """A frozen dataclass of tensors, of mappings of tensors or of such dataclasses, on the device."""
        if self.device == "cpu":
            return columns
        fields = {name: getattr(columns, name) for name in columns.__dataclass_fields__}  # type: ignore[attr-defined]
        sent = {name: self._sent_field(value) for name, value in fields.items()}
        return replace(columns, **sent)  # type: ignore[type-var]

    def casting(self) -> AbstractContextManager[object]:
        """Products inside are computed with the chosen precision."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16)

    def _sent_field(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self.sent(each) for name, each in value.items()}
        if is_dataclass(value):
            return self.all_sent(value)
        return self.sent(value) if isinstance(value, Tensor) else value


ON_CPU: Final = Execution()
