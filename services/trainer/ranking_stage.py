"""The second stage of a training: the ranker, on moments of the past with candidates that were not in-sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from services.trainer import metrics
from services.trainer.calibration import calibrated
from services.trainer.candidates import Asking, CandidateFinder, CandidateLists
from services.trainer.datasets import DatasetError
from services.trainer.datasets_ragged import Ragged
from services.trainer.evaluation import batches
from services.trainer.external_start import REQUESTS, LinearStart, cosines, linear_start
from services.trainer.fitting import FitSettings, fit
from services.trainer.moments import Moments
from services.trainer.population import reference_of
from services.trainer.presets import TrainingSettings
from services.trainer.ranking_examples import Requests, known_features
from services.trainer.ranking_training import Examples, RankingTask, RatingTask
from services.trainer.retrieval_stage import Encoded, Run
from services.trainer.slate_examples import Knowledge, divided, slate_examples
from services.trainer.slate_gains import slate_gains
from services.trainer.slices import Slice, requests_at
from services.trainer.two_stage import Retrieval, engagement, ranked, vectors_at
from services.trainer.unseen_items import hide_ids, unseen_rows
from shared.domain.events import EventType
from shared.model.calibration import Calibration
from shared.model.index import best_of
from shared.model.ranker import RankerModel, RankerParts, new_ranker
from shared.model.scaler import Scaler

LEAST_JUDGED = 20
"""Slates from which on they have a say in when the ranker is good."""

Rows = npt.NDArray[np.int64]
Features = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Judge:
    """The validation requests with their candidates, found once: who ranks them better?

    Attributes:
        asked, lists, features: of the served retriever.
        targets, kinds: what happened.
    """

    asked: Requests
    lists: CandidateLists
    features: Features
    targets: Rows
    kinds: Rows

    @classmethod
    def of(cls, data: Encoded, served: Retrieval, moments: Moments, settings: TrainingSettings) -> Judge:
        """Ask the served retriever."""
        split = data.validation
        (requests,) = batches(split, len(split))
        asked, lists = served.find(requests, settings.serving_quotas, moments)
        kinds = split.interactions.event_types[split.target_events].astype(np.int64)
        features = known_features(asked, lists, served.knowledge, moments)
        return cls(asked, lists, features, split.target_items.astype(np.int64), kinds)

    def ndcg(self, model: RankerModel) -> float:
        """NDCG@10 of a ranker's order."""
        wanted = engagement(self.logits(model), model.parts.calibration)
        found = best_of(self.lists.rows, wanted, 10).rows.astype(np.int32)
        ranks = metrics.ranks_of(found, self.targets.astype(np.int32))
        return float(metrics.discounted_gains(ranks, 10).mean())

    def logits(self, model: RankerModel) -> npt.NDArray[np.float32]:
        """(Q, C, A)."""
        return ranked(RankerModel(model.parts), self.asked, self.lists, self.features)


class RankingStage:
    """Fits the ranker.

    Args:
        data: encoded.
        cut: which events are the ranker's.
        moments: the catalogue's counters at any moment.
        run: settings, progress and checkpoints.
    """

    def __init__(self, data: Encoded, cut: Slice, moments: Moments, run: Run) -> None:
        self._data, self._cut, self._moments = data, cut, moments
        self._run, self._settings, self._warm = run, run.settings, run.warm_start
        self._sequences = data.sequences(data.train)
        described = Knowledge.of(data, self._sequences.events[cut.for_retriever(self._sequences)])
        self.slates = divided(run.answers.slates, data.dataset, described, data.validation.cut_s)
        self._unseen = unseen_rows(data.train.item_rows, len(data.dataset.items))

    def fit(self, sliced: Retrieval, served: Retrieval) -> RankerModel:
        """Fit on served slates and on candidates of the retriever that has not seen the slice.

        Those of the served retriever stop it, and calibrate it.

        Raises:
            DatasetError: no outcome is among the candidates.
        """
        asked, lists, outcomes = self._examined(sliced)
        features = known_features(asked, lists, sliced.knowledge, self._moments)
        scaler = Scaler.fit(features[lists.rows >= 0].astype(np.float32))
        model = self._new_model(sliced, served, scaler, asked)
        examples = self._examples(model, asked, lists, features, outcomes)
        if not (self._warm and self._warm.ranker):
            self._start(sliced, examples, lists).put_into(model.parts.network)
        judge = Judge.of(self._data, served, self._moments, self._settings)
        task = RankingTask(
            model.parts.network,
            self._data.table,
            [examples, *self._of_slates(model, sliced)],
            self._settings.ranking,
            lambda: judge.ndcg(model) + self._on_slates(model),
        )
        how = FitSettings(
            "ranker", self._settings.seed + 2, self._settings.ranker_learning_rate,
            max_epochs=self._settings.epochs.ranker, patience=self._settings.epochs.patience, average=0.99,
            judge_start=True,
        )  # fmt: skip
        fitted = fit(task, how, self._run.checkpoints, self._run.progress)
        if not fitted.best_epoch and model.parts.calibration.value_spread and not (self._warm and self._warm.ranker):
            alone = replace(how, stage="ratings", patience=0, judge_start=False)
            fit(RatingTask(task), alone, self._run.checkpoints, self._run.progress)
        network = model.parts.network
        hide_ids(self._unseen, network.tower.ids, network.item_bias, network.rating.item_bias)
        return self._calibrated(model, judge)

    def _of_slates(self, model: RankerModel, sliced: Retrieval) -> list[Examples]:
        learned = self.slates.learned
        return [slate_examples(learned, model, sliced.knowledge)] if learned else []

    def _on_slates(self, model: RankerModel) -> float:
        """How well the ranker orders slates that it does not learn from; 0 where there are too few to tell."""
        judged = self.slates.judged
        return float(slate_gains(RankerModel(model.parts), judged).mean()) if len(judged) >= LEAST_JUDGED else 0.0

    def _examined(self, sliced: Retrieval) -> tuple[Requests, CandidateLists, Rows]:
        """The slice's requests whose outcome is among the candidates, and its place there."""
        asked = self._requests()
        users = np.searchsorted(self._sequences.offsets, self._cut.asked, side="right") - 1
        first = self._sequences.offsets[users]
        histories = Ragged.from_slices(self._sequences.item_rows, first, self._cut.asked - first)
        allowed = self._data.validation.catalogue.copy()
        allowed[self._unseen] = False  # to the training these are still to come: no fair choice
        finder = CandidateFinder(
            sliced.knowledge.vectors, sliced.knowledge.transitions, allowed, self._moments, self._settings.quotas
        )  # fmt: skip
        rng = np.random.default_rng(self._settings.seed)
        lists = finder.find(Asking(vectors_at(sliced.model, asked), histories, histories, asked.times_s), rng)
        found = lists.rows == asked.targets[:, None]
        kept = found.any(axis=1)
        if not kept.any():
            raise DatasetError(f"{self._data.dataset.name} is too small: no outcome is among the candidates")
        return asked.take(kept), lists.take(kept), found[kept].argmax(axis=1).astype(np.int64)

    def _requests(self) -> Requests:
        sequences, train, asked = self._sequences, self._data.train, self._cut.asked
        starts, stops, window, places = requests_at(sequences, asked, self._settings.shape.history_limit)
        packed = sequences.packed(starts, stops)
        events = sequences.events[self._history_places()]
        return Requests(
            histories=packed,
            times_ms=np.round(train.times_s[events] * 1000).astype(np.int64),
            window=window,
            places=places,
            times_s=np.maximum(train.times_s[sequences.events[np.maximum(asked - 1, 0)]], self._cut.from_s),
            targets=sequences.item_rows[asked],
            kinds=train.event_types[sequences.events[asked]].astype(np.int64),
        )

    def _history_places(self) -> Rows:
        """(T,) places in the sequences of the histories' events."""
        limit = self._settings.shape.history_limit
        starts, stops, _, _ = requests_at(self._sequences, self._cut.asked, limit)
        offsets = np.concatenate(([0], np.cumsum(stops - starts)))
        return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], stops - starts)

    def _new_model(self, sliced: Retrieval, served: Retrieval, scaler: Scaler, asked: Requests) -> RankerModel:
        """The ranker begins as the retriever: same towers, heads at zero; or as the ranker of the warm start."""
        torch.manual_seed(self._settings.seed + 2)
        data, source = self._data, sliced.model.network
        before = self._warm.ranker if self._warm else None
        kinds = {int(kind) for kind in np.unique(asked.kinds)} | set(before.actions if before else ())
        kinds |= {kind for slate in self.slates.learned for kind in slate.kinds.tolist()}
        actions = tuple(sorted(kinds))
        network = new_ranker(self._settings.shape, data.encoding, len(data.dataset.items), len(actions))
        for mine, theirs in (
            (network.tower, source.tower),
            (network.encoder, source.encoder),
            (network.out, source.out),
            (network.profile, source.profile),
        ):
            mine.load_state_dict(theirs.state_dict())
        ratings = self._ratings(np.arange(len(data.train)))
        known = ratings[np.isfinite(ratings)]
        mean, spread = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        if before and before.parts.calibration.value_spread > 0:  # the weights speak of values on the old scale
            mean, spread = before.parts.calibration.value_mean, before.parts.calibration.value_spread
        scaler = before.parts.calibration.scaler if before else scaler
        ones = np.ones(len(actions), np.float32)
        parts = RankerParts(
            network=network, vocabulary=data.dataset.items, encoding=data.encoding, table=data.table, scale=data.scale,
            knowledge=served.knowledge, calibration=Calibration(scaler, ones, 0 * ones, mean, spread), actions=actions,
        )  # fmt: skip
        model = RankerModel(parts)
        if self._warm:
            self._warm.put_into_ranker(model)
        return model

    def _examples(
        self, model: RankerModel, asked: Requests, lists: CandidateLists, features: Features, outcomes: Rows
    ) -> Examples:
        calibration = model.parts.calibration
        values = self._ratings(self._sequences.events[self._history_places()])
        return Examples(
            requests=asked,
            rows=lists.rows,
            features=calibration.scaler.scaled(features.astype(np.float32)).astype(np.float16),
            outcomes=outcomes[:, None],
            actions=np.searchsorted(model.actions, asked.kinds).astype(np.int64)[:, None],
            values=((values - calibration.value_mean) / (calibration.value_spread or 1.0)).astype(np.float32),
        )

    def _start(self, sliced: Retrieval, examples: Examples, lists: CandidateLists) -> LinearStart:
        """The line through a sample of the examples."""
        rng = np.random.default_rng(self._settings.seed)
        chosen = np.zeros(len(examples), np.bool_)
        chosen[rng.permutation(len(examples))[:REQUESTS]] = True
        some, asked = lists.take(chosen), examples.requests.take(chosen)
        near = cosines(vectors_at(sliced.model, asked), sliced.knowledge.vectors, some)
        return linear_start(near, examples.features[chosen], some.rows, examples.outcomes[chosen, 0])

    def _ratings(self, events: Rows) -> npt.NDArray[np.float32]:
        """(n,) values of ratings, NaN for other events: seconds of dwell are on another scale."""
        train = self._data.train
        return np.where(train.event_types[events] == EventType.RATING, train.values[events], np.nan).astype(np.float32)

    def _calibrated(self, model: RankerModel, judge: Judge) -> RankerModel:
        actions = np.array(model.actions)
        place = np.minimum(np.searchsorted(actions, judge.kinds), len(actions) - 1)
        heads = np.where(actions[place] == judge.kinds, place, -1)
        logits = judge.logits(model)
        scales, offsets = calibrated(logits, judge.lists.rows, judge.targets, heads)
        calibration = replace(model.parts.calibration, scales=scales, offsets=offsets)
        there = judge.lists.rows >= 0
        reference = reference_of(judge.features[there], logits[there], calibration, model.actions)
        return RankerModel(replace(model.parts, calibration=calibration, reference=reference))
