"""The second stage of a training: the ranker, on moments of the past with candidates that were not in-sample.

Validation chooses how it is fitted (the recipe). After a cut in time it is fitted again by that recipe on what
validation asked for: a ranker that stands before the cut knows nothing of the items that came in between, which are
what most people take next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import nan

import numpy as np
import numpy.typing as npt
import torch

from services.trainer.calibration import calibrated
from services.trainer.candidates import Asking, CandidateFinder, CandidateLists
from services.trainer.correction import Correction, correction_of
from services.trainer.datasets import DatasetError
from services.trainer.datasets_ragged import Ragged
from services.trainer.external_start import REQUESTS, LinearStart, cosines, linear_start
from services.trainer.fitting import FitReport, FitSettings, fit
from services.trainer.judge import Judge
from services.trainer.moments import Moments
from services.trainer.population import reference_of
from services.trainer.ranking_examples import Requests, known_features
from services.trainer.ranking_training import Examples, RankingTask, RatingTask
from services.trainer.retrieval_stage import Encoded, Run
from services.trainer.slate_examples import Knowledge, divided, slate_examples
from services.trainer.slate_gains import slate_gains
from services.trainer.slices import Slice, requests_at
from services.trainer.two_stage import Retrieval, vectors_at
from services.trainer.unseen_items import hide_ids, unseen_rows
from shared.domain.events import EventType
from shared.model.calibration import Calibration
from shared.model.ranker import RankerModel, RankerParts, new_ranker
from shared.model.scaler import Scaler

LEAST_JUDGED = 20
"""Slates from which on they have a say in when the ranker is good."""
_SCALED_ON = 20_000  # requests whose candidates tell the features' scale

Rows = npt.NDArray[np.int64]
Features = npt.NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What validation chose for a ranker, enough to fit the same one on later events.

    Attributes:
        epochs: that were best.
        correction: of its heads.
        chosen: the ranker, for the scales of its features, values and probabilities.
    """

    epochs: int
    correction: Correction | None
    chosen: RankerModel


@dataclass(frozen=True, slots=True)
class _Past:
    """Requests of the past with candidates, their features, and the places of the outcomes among them."""

    asked: Requests
    lists: CandidateLists
    features: Features
    outcomes: Rows


class RankingStage:
    """Fits the ranker.

    Args:
        data: encoded.
        cut: which events are the ranker's.
        moments: the catalogue's counters at any moment.
        run: settings, progress and checkpoints.
    """

    def __init__(self, data: Encoded, cut: Slice, moments: Moments, run: Run) -> None:
        self._data, self._moments = data, moments
        self._run, self._settings, self._warm = run, run.settings, run.warm_start
        self._cut = cut.sampled(self._settings.slice.total, np.random.default_rng(self._settings.seed))
        self._sequences = data.sequences(data.train)
        described = Knowledge.of(data, self._sequences.events[cut.for_retriever(self._sequences)])
        self.slates = divided(run.answers.slates, data.dataset, described, data.validation.cut_s)
        self._unseen = unseen_rows(data.train.item_rows, len(data.dataset.items))

    def fit(self, sliced: Retrieval, served: Retrieval) -> Recipe:
        """Fit on served slates and on candidates of the retriever that has not seen the slice.

        Those of the served retriever stop it, correct it, and calibrate it.

        Raises:
            DatasetError: no outcome is among the candidates.
        """
        past = self._examined(sliced)
        if past is None:
            raise DatasetError(f"{self._data.dataset.name} is too small: no outcome is among the candidates")
        some = slice(None, None, max(1, len(past.lists) // _SCALED_ON))
        scaler = Scaler.fit(past.features[some][past.lists.rows[some] >= 0].astype(np.float32))
        actions = self._actions(past.asked)
        model = self._new_model(sliced, served, actions, self._uncalibrated(scaler, len(actions)))
        judge = Judge.of(self._data, served, self._moments, self._settings)
        epochs = self._settings.epochs
        how = self._how("ranker", epochs.ranker, epochs.patience)
        report = self._fitted(model, sliced, past, how, lambda: judge.ndcg(model) + self._on_slates(model))
        correction = self._correction(model, judge)
        if correction:
            correction.put_into(model.parts.network)
        return Recipe(report.best_epoch, correction, self._calibrated(model, judge))

    def fit_again(self, sliced: Retrieval, served: Retrieval, recipe: Recipe, name: str) -> RankerModel | None:
        """A ranker by a recipe, without any validation; None where nothing teaches it."""
        past = self._examined(sliced)
        if past is None:
            return None
        chosen = recipe.chosen.parts
        model = self._new_model(sliced, served, chosen.actions, chosen.calibration)
        self._fitted(model, sliced, past, self._how(name, recipe.epochs, 0), lambda: nan)
        if recipe.correction:
            recipe.correction.put_into(model.parts.network)
        return RankerModel(replace(model.parts, reference=chosen.reference))

    def _correction(self, model: RankerModel, judge: Judge) -> Correction | None:
        """Only behind a cut in time: elsewhere it was clearly better on none of the data that were measured."""
        if not np.isfinite(self._data.validation.cut_s):
            return None
        return correction_of(judge.judged(model), np.random.default_rng(self._settings.seed))

    def _how(self, name: str, epochs: int, patience: int) -> FitSettings:
        settings = self._settings
        return FitSettings(
            name, settings.seed + 2, settings.ranker_learning_rate, max_epochs=epochs, patience=patience, average=0.99,
            judge_start=patience > 0, most_steps=settings.epochs.steps,
        )  # fmt: skip

    def _fitted(
        self, model: RankerModel, sliced: Retrieval, past: _Past, how: FitSettings, validate: Callable[[], float]
    ) -> FitReport:
        network = model.parts.network
        examples = self._examples(model, past)
        if not (self._warm and self._warm.ranker):
            self._start(sliced, examples, past.lists).put_into(network)
        every = [examples, *self._of_slates(model, sliced)]
        task = RankingTask(network, self._data.table, every, self._settings.ranking, validate)
        report = fit(task, how, self._run.checkpoints, self._run.progress)
        if not report.best_epoch and model.parts.calibration.value_spread and not (self._warm and self._warm.ranker):
            self._fit_ratings(task, how)
        hide_ids(self._unseen, network.tower.ids, network.item_bias, network.rating.item_bias)
        return report

    def _fit_ratings(self, task: RankingTask, how: FitSettings) -> None:
        """The rating head alone, where the ranker stays as it began."""
        stage, epochs = how.stage.replace("ranker", "ratings"), self._settings.epochs.ranker
        alone = replace(how, stage=stage, max_epochs=epochs, patience=0, judge_start=False)
        fit(RatingTask(task), alone, self._run.checkpoints, self._run.progress)

    def _of_slates(self, model: RankerModel, sliced: Retrieval) -> list[Examples]:
        learned = self.slates.learned
        return [slate_examples(learned, model, sliced.knowledge)] if learned else []

    def _on_slates(self, model: RankerModel) -> float:
        """How well the ranker orders slates that it does not learn from; 0 where there are too few to tell."""
        judged = self.slates.judged
        return float(slate_gains(RankerModel(model.parts), judged).mean()) if len(judged) >= LEAST_JUDGED else 0.0

    def _examined(self, sliced: Retrieval) -> _Past | None:
        """The slice's requests whose outcome is among the candidates; None where there are none."""
        if not len(self._cut.asked):
            return None
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
            return None
        asked, lists = asked.take(kept), lists.take(kept)
        features = known_features(asked, lists, sliced.knowledge, self._moments)
        return _Past(asked, lists, features, found[kept].argmax(axis=1).astype(np.int64))

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
            targets=sequences.item_rows[asked].astype(np.int64),
            kinds=train.event_types[sequences.events[asked]].astype(np.int64),
        )

    def _history_places(self) -> Rows:
        """(T,) places in the sequences of the histories' events."""
        limit = self._settings.shape.history_limit
        starts, stops, _, _ = requests_at(self._sequences, self._cut.asked, limit)
        offsets = np.concatenate(([0], np.cumsum(stops - starts)))
        return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], stops - starts)

    def _actions(self, asked: Requests) -> tuple[int, ...]:
        """What the heads are for: all that happened, and what the warm start has heads for."""
        before = self._warm.ranker if self._warm else None
        kinds = {int(kind) for kind in np.unique(asked.kinds)} | set(before.actions if before else ())
        kinds |= {kind for slate in self.slates.learned for kind in slate.kinds.tolist()}
        return tuple(sorted(kinds))

    def _uncalibrated(self, scaler: Scaler, actions: int) -> Calibration:
        """Scales of features and values, by the warm start's if there is one: its weights speak of those."""
        before = self._warm.ranker.parts.calibration if self._warm and self._warm.ranker else None
        ratings = self._ratings(np.arange(len(self._data.train)))
        known = ratings[np.isfinite(ratings)]
        mean, spread = (float(known.mean()), float(known.std())) if len(known) else (0.0, 0.0)
        if before and before.value_spread > 0:
            mean, spread = before.value_mean, before.value_spread
        ones = np.ones(actions, np.float32)
        return Calibration(before.scaler if before else scaler, ones, 0 * ones, mean, spread)

    def _new_model(
        self, sliced: Retrieval, served: Retrieval, actions: tuple[int, ...], calibration: Calibration
    ) -> RankerModel:
        """The ranker begins as the retriever: same towers, heads at zero; or as the ranker of the warm start."""
        torch.manual_seed(self._settings.seed + 2)
        data, source = self._data, sliced.model.network
        network = new_ranker(self._settings.shape, data.encoding, len(data.dataset.items), len(actions))
        for mine, theirs in (
            (network.tower, source.tower),
            (network.encoder, source.encoder),
            (network.out, source.out),
            (network.profile, source.profile),
        ):
            mine.load_state_dict(theirs.state_dict())
        parts = RankerParts(
            network=network, vocabulary=data.dataset.items, encoding=data.encoding, table=data.table, scale=data.scale,
            knowledge=served.knowledge, calibration=calibration, actions=actions,
        )  # fmt: skip
        model = RankerModel(parts)
        if self._warm:
            self._warm.put_into_ranker(model)
        return model

    def _examples(self, model: RankerModel, past: _Past) -> Examples:
        calibration = model.parts.calibration
        values = self._ratings(self._sequences.events[self._history_places()])
        return Examples(
            requests=past.asked,
            rows=past.lists.rows,
            features=calibration.scaler.scaled_halves(past.features),
            outcomes=past.outcomes[:, None],
            actions=_heads(past.asked.kinds, model.actions)[:, None],
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
        logits = judge.logits(model)
        heads = _heads(judge.kinds, model.actions)
        scales, offsets = calibrated(logits, judge.lists.rows, judge.targets, heads)
        calibration = replace(model.parts.calibration, scales=scales, offsets=offsets)
        there = judge.lists.rows >= 0
        reference = reference_of(judge.features[there], logits[there], calibration, model.actions)
        return RankerModel(replace(model.parts, calibration=calibration, reference=reference))


def _heads(kinds: Rows, actions: tuple[int, ...]) -> Rows:
    """(n,) the head of each kind of event, -1 = there is none."""
    known = np.array(actions)
    place = np.minimum(np.searchsorted(known, kinds), len(known) - 1)
    return np.where(known[place] == kinds, place, -1).astype(np.int64)
