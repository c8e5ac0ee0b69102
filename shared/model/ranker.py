"""The ranker, for serving: from a user and candidates to calibrated probabilities, and to the parts that make them.

The network stands in `ranker_network.py`, its external knowledge in `knowledge.py`. This joins them with what a bundle
holds: the items, the scale of the features, the calibration. Several users are scored in one forward pass; each gets
the scores it would get alone.

B users, C candidates of the longest request, N of one, d width, K features, A actions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from shared.domain.ranking import RankingRequest, RankingResult, ScoreParts
from shared.domain.vocabulary import UNKNOWN_ROW, Vocabulary
from shared.model.bundle import Bundle
from shared.model.calibration import Calibration
from shared.model.candidate_step import Compile, FixedShapes, Questions, Step, step_of
from shared.model.described_candidates import described
from shared.model.encoding import PackedHistories, ValueScale, load_scale, pack_histories
from shared.model.execution import ON_CPU, Execution, Precision
from shared.model.history_cache import Encode, HistoryCache
from shared.model.index import VECTORS_FILE
from shared.model.item_tower import FeatureEncoding, ItemTable, ItemTower, load_table
from shared.model.knowledge import NAMES, KnowledgeSource, Statistics
from shared.model.manifest import ServeOrder
from shared.model.profile_tower import ProfileTower
from shared.model.ranker_network import PARTS, EncodedHistories, RankerNetwork, RankerSettings
from shared.model.reference import Reference
from shared.model.retriever import HistoryInputs, RetrieverSettings, item_vectors
from shared.model.transitions import TransitionTable

WEIGHTS_FILE = "ranker.safetensors"

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RankerParts:
    """Everything that scoring reads.

    Attributes:
        network: in evaluation mode.
        vocabulary, encoding, table: the items.
        scale: of event values.
        knowledge: external knowledge of the candidates.
        calibration: of the outputs.
        actions: (A,) `EventType` codes of the heads.
        reference: what it saw and said in training; None: not known.
    """

    network: RankerNetwork
    vocabulary: Vocabulary
    encoding: FeatureEncoding
    table: ItemTable
    scale: ValueScale
    knowledge: KnowledgeSource
    calibration: Calibration
    actions: tuple[int, ...]
    reference: Reference | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """What an answer says about the bundle behind it."""

    version: str = ""
    watermark: str = ""
    serve_order: ServeOrder = "ranker"


class RankerModel:
    """A trained ranker: no gradients, safe for concurrent reads.

    Args:
        parts: what scoring reads.
        identity: of the bundle.
        execution: where and how it runs; the network moves there.
    """

    def __init__(self, parts: RankerParts, identity: Identity | None = None, execution: Execution = ON_CPU) -> None:
        self.parts = parts
        self.identity = identity or Identity()
        self.execution = execution
        self.histories = HistoryCache(self.encoded, execution.cache_bytes)
        self.actions = parts.actions
        self.on_features: Callable[[Floats], None] | None = None
        """Is told each request's (N, K) scaled features, by the thread that scores."""
        parts.network.eval()
        self._raw = execution.sent(item_vectors(parts.network.tower, parts.table))  # (M, d)
        parts.network.to(execution.device)
        self.step: Step = step_of(parts.network)

    @property
    def version(self) -> str:
        """The bundle's version."""
        return self.identity.version

    @property
    def watermark(self) -> str:
        """Log position up to which the training data goes; "" = not known."""
        return self.identity.watermark

    @classmethod
    def load(cls, bundle: Bundle, execution: Execution = ON_CPU) -> RankerModel:
        """Open that of a bundle."""
        torch.set_num_threads(execution.threads)
        encoding, table = FeatureEncoding.load(bundle), load_table(bundle)
        features, manifest = len(encoding.featurizer.names), bundle.manifest
        encoder = RetrieverSettings.model_validate(manifest.ranker)
        network = new_ranker(encoder, encoding, len(bundle.vocabulary), len(manifest.actions))
        network.load_state_dict(load_file(bundle.file(WEIGHTS_FILE)))
        vectors = bundle.arrays(VECTORS_FILE)["vectors"]
        knowledge = KnowledgeSource.of(
            TransitionTable.load(bundle), Statistics.load(bundle), vectors, table.bags, features
        )
        parts = RankerParts(
            network=network,
            vocabulary=bundle.vocabulary,
            encoding=encoding,
            table=table,
            scale=load_scale(bundle),
            knowledge=knowledge,
            calibration=Calibration.load(bundle),
            actions=manifest.actions,
            reference=Reference.load(bundle),
        )
        identity = Identity(manifest.version, manifest.watermark, manifest.serve_order)
        return cls(parts, identity, execution)

    def with_precision(self, precision: Precision) -> RankerModel:
        """The same model, weights and all, computing more or less precisely."""
        return self._executed(replace(self.execution, precision=precision))

    def with_graphs(self, compiler: Compile | None = None) -> RankerModel:
        """The same model, scoring in fixed shapes, each compiled when it first comes or by `warm`."""
        other = self._executed(replace(self.execution, graphs=True))
        other.step = FixedShapes(self.parts.network, compiler)
        return other

    @torch.inference_mode()
    def warm(self, request: RankingRequest) -> None:
        """Compile all fixed shapes, if it has any, for a request's sake."""
        if isinstance(self.step, FixedShapes):
            with self.execution.casting():
                self.step.warm(self._asked([request], self.encoded))

    def _executed(self, execution: Execution) -> RankerModel:
        other = copy(self)
        other.execution = execution
        other.histories = HistoryCache(other.encoded, execution.cache_bytes)
        return other

    def save(self, folder: Path) -> None:
        """Write weights, calibration and statistics (items, encodings, transitions and index are the publisher's)."""
        save_file(self.parts.network.state_dict(), folder / WEIGHTS_FILE)
        self.parts.calibration.save(folder)
        self.parts.knowledge.statistics.save(folder)
        if self.parts.reference is not None:
            self.parts.reference.save(folder)

    @torch.inference_mode()
    def score(self, requests: Sequence[RankingRequest]) -> list[RankingResult]:
        """One result a request, candidates in the request's order; `leave_out` costs a forward pass of its own."""
        return [
            self._left_out(*pair) for pair in zip(requests, self._passed(requests, self.histories.encoded), strict=True)
        ]

    def _left_out(self, request: RankingRequest, result: RankingResult) -> RankingResult:
        """The result with the probabilities without each of the latest events, when they were asked for."""
        if not (without := self._passed(request.without_each(), self.encoded)):
            return result
        return replace(result, without_event=np.stack([each.probabilities for each in without]))

    def _passed(self, requests: Sequence[RankingRequest], encode: Encode) -> list[RankingResult]:
        """One forward pass."""
        if not requests:
            return []
        parts, ratings = self._answered(self._asked(requests, encode))
        return [self._result(request, parts[number], ratings[number]) for number, request in enumerate(requests)]

    def _asked(self, requests: Sequence[RankingRequest], encode: Encode) -> Questions:
        """What the network is asked, padded to the longest request."""
        limit = self.parts.network.settings.encoder.history_limit
        packed = pack_histories([each.history for each in requests], self.parts.vocabulary, self.parts.scale, limit)
        packed = replace(packed, profiles=self.parts.encoding.profiles([each.user for each in requests]))
        rows = [self.parts.vocabulary.rows(each.candidates.item_ids) for each in requests]
        width = max(len(each) for each in rows)
        id_rows = np.stack([np.pad(each, (0, width - len(each)), constant_values=UNKNOWN_ROW) for each in rows])
        raw = pad_sequence([self._items(*pair) for pair in zip(requests, rows, strict=True)], batch_first=True)
        known = [self._knowledge(request, packed, place, rows[place]) for place, request in enumerate(requests)]
        features = pad_sequence([torch.from_numpy(each) for each in known], batch_first=True)
        sent = self.execution.sent
        return Questions(encode(packed), sent(packed.lengths), sent(id_rows), raw, sent(features))

    def scored(self, packed: PackedHistories, id_rows: Rows, raw: Tensor, features: Floats) -> tuple[Floats, Floats]:
        """(B, C, A, parts) logits by part and (B, C) ratings, from arrays.

        Args:
            packed: B histories.
            id_rows: (B, C) item rows, -1 = not in the bundle.
            raw: (B, C, d) raw item vectors.
            features: (B, C, K) scaled.
        """
        sent = self.execution.sent
        return self._answered(Questions(self.encoded(packed), sent(packed.lengths), sent(id_rows), raw, sent(features)))

    def encoded(self, packed: PackedHistories) -> EncodedHistories:
        """The histories after the encoder, whether or not they are known already."""
        with self.execution.casting():
            return self.parts.network.encode_latest(self.execution.all_sent(HistoryInputs.of(packed)), self._raw)

    def _answered(self, asked: Questions) -> tuple[Floats, Floats]:
        with self.execution.casting():
            parts, ratings = self.step(asked)
        return parts.float().cpu().numpy(), ratings.float().cpu().numpy()

    def raw_items(self, rows: Rows) -> Tensor:
        """Raw vectors of item rows of any shape, zero for -1."""
        known = self.execution.sent(rows != UNKNOWN_ROW)[..., None]
        return self._raw[self.execution.sent(np.maximum(rows, 0))] * known

    def _items(self, request: RankingRequest, rows: Rows) -> Tensor:
        """(N, d) raw vectors of the candidates; new ones by their content, where it came with the request."""
        raw = self.raw_items(rows)
        content, ids = request.candidates.new_items, request.candidates.item_ids
        new = [place for place in np.flatnonzero(rows == UNKNOWN_ROW).tolist() if ids[place] in content]
        if new:
            table = self.parts.encoding.table([content[ids[place]] for place in new], self.parts.vocabulary)
            raw[new] = self.parts.network.tower(self.execution.all_sent(table.inputs(np.arange(len(table)))))
        return raw

    def _knowledge(self, request: RankingRequest, packed: PackedHistories, number: int, rows: Rows) -> Floats:
        """(N, K) scaled features of one request."""
        arrays = described(request, packed, number, rows)
        scaled = self.parts.calibration.scaler.scaled(self.parts.knowledge.features(arrays))
        if self.on_features:
            self.on_features(scaled)
        return scaled

    def _result(self, request: RankingRequest, parts: Floats, ratings: Floats) -> RankingResult:
        count, calibration = len(request.candidates), self.parts.calibration
        kept = np.ascontiguousarray(parts[:count], dtype=np.float32)
        logits = np.clip(calibration.scales * kept.sum(-1) + calibration.offsets, -30, 30)
        rated = calibration.value_mean + calibration.value_spread * ratings[:count]
        explained = ScoreParts(PARTS, kept, calibration.scales, calibration.offsets) if request.explain else None
        return RankingResult(
            actions=self.actions,
            probabilities=(1 / (1 + np.exp(-logits))).astype(np.float32),
            ratings=rated.astype(np.float32) if calibration.value_spread > 0 else np.empty(0, np.float32),
            parts=explained,
            model_version=self.identity.version,
            data_watermark=self.identity.watermark,
            keep_retrieval_order=self.identity.serve_order == "retrieval",
            keep_neighbour_order=self.identity.serve_order == "transitions",
        )


def new_ranker(encoder: RetrieverSettings, encoding: FeatureEncoding, items: int, actions: int) -> RankerNetwork:
    """An untrained network for a catalogue of N items."""
    tower = ItemTower(items, len(encoding.featurizer.names), encoding.encoders, encoder.width)
    profile = ProfileTower(len(encoding.users.names), encoder.width)
    return RankerNetwork(RankerSettings(encoder=encoder, actions=actions, features=len(NAMES)), tower, profile)
