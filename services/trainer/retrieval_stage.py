"""The first stage of a training: the retriever that has not seen the slice, and those that go on from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import nan

import numpy as np
import numpy.typing as npt
import torch

from services.trainer.checkpoints import Checkpoints
from services.trainer.datasets import Dataset, Interactions
from services.trainer.evaluation import evaluate
from services.trainer.fitting import FitReport, FitSettings, fit
from services.trainer.presets import TrainingSettings
from services.trainer.progress import Progress
from services.trainer.retrieval_training import RetrievalTask
from services.trainer.sequences import TrainingSequences
from services.trainer.slates import NO_ANSWERS, Answers
from services.trainer.splits import Split
from services.trainer.transition_choice import Tried, chosen_parameters
from services.trainer.two_stage import Retrieval, RetrievalOnly
from services.trainer.unseen_items import hide_ids, unseen_rows
from services.trainer.warm_start import WarmStart
from shared.model.encoding import ValueScale
from shared.model.item_tower import FeatureEncoding, ItemTable
from shared.model.knowledge import KnowledgeSource, Statistics
from shared.model.retriever import RetrieverModel, RetrieverNetwork, new_network
from shared.model.transitions import TransitionCounts, TransitionTable
from shared.model.user_features import Profiles

WARM_START = "warm start"
"""The stage of progress that says how much was taken over."""


@dataclass(frozen=True, slots=True)
class Run:
    """What every part of a training is given.

    Attributes:
        settings: of the training.
        progress: is told.
        checkpoints: of this run; None keeps none.
        warm_start: the retriever to begin as; None: at random.
        answers: served slates and what followed.
    """

    settings: TrainingSettings
    progress: Progress
    checkpoints: Checkpoints | None = None
    warm_start: WarmStart | None = None
    answers: Answers = NO_ANSWERS


@dataclass(frozen=True, slots=True)
class Encoded:
    """The data set as the networks read it.

    Attributes:
        dataset: all of it.
        validation: whose train part may be learned from, and who is asked after each epoch.
        encoding, table: the items.
        scale: of event values, fitted on the train part.
        profiles: of the users, as they are now.
    """

    dataset: Dataset
    validation: Split
    encoding: FeatureEncoding
    table: ItemTable
    scale: ValueScale
    profiles: Profiles

    @classmethod
    def of(cls, dataset: Dataset, validation: Split, settings: TrainingSettings) -> Encoded:
        """Fit the encodings."""
        encoding = FeatureEncoding.fit(dataset.item_details, settings.feature_limit, dataset.user_details)
        scale = ValueScale.fit(validation.train.event_types, validation.train.values)
        asked = validation.sampled(settings.validation_users, np.random.default_rng(settings.seed))
        table, profiles = encoding.table(dataset.item_details, dataset.items), encoding.profiles(dataset.user_details)
        return cls(dataset, asked, encoding, table, scale, profiles)

    @property
    def train(self) -> Interactions:
        """What may be learned from."""
        return self.validation.train

    def sequences(self, events: Interactions) -> TrainingSequences:
        """Events grouped by user."""
        return TrainingSequences.of(events, self.scale, self.profiles)

    def retriever(self, network: RetrieverNetwork) -> RetrieverModel:
        """A network as it is served."""
        return RetrieverModel(network, self.encoding, self.table, self.dataset.items, self.scale)


class RetrievalStage:
    """Fits retrievers on parts of the events.

    Args:
        data: encoded.
        run: settings, progress and checkpoints.
        wanted: (E,) events of the data set that may be targets, the others are context; None: all. Only for fits on
            the first events of the data set, as those of a cut in time are.
    """

    def __init__(self, data: Encoded, run: Run, wanted: npt.NDArray[np.bool_] | None = None) -> None:
        self._data, self._run, self._wanted = data, run, wanted
        self.reports: dict[str, FitReport] = {}
        self._liked_epochs = 0  # of going on, by validation

    def fit_new(self, events: Interactions, stage: str) -> Retrieval:
        """A new retriever, until validation says stop."""
        return self._fit(self._begun_network(), events, self._how(stage, 0, self._run.settings.epochs.sliced))

    def begun(self, events: Interactions) -> Retrieval:
        """The warm start as it is, with the counters of these events."""
        network = self._begun_network()
        hide_ids(unseen_rows(events.item_rows, len(self._data.dataset.items)), network.tower.ids)
        return self._retrieval(network, events)

    def fit_on(self, before: Retrieval, events: Interactions, stage: str) -> Retrieval:
        """The same retriever, gone on with more events, until validation says stop."""
        gone_on = self._fit(self._copied(before), events, self._how(stage, 1, self._run.settings.epochs.continued))
        self._liked_epochs = self.reports[stage].best_epoch
        return gone_on

    def fit_final(self, before: Retrieval, events: Interactions, stage: str) -> Retrieval:
        """The same retriever, gone on with events that validation would ask for: a fixed number of epochs.

        What comes after a cut in time holds items that were new then; they need as many epochs as validation liked for
        those that were new before it.
        """
        how = self._how(stage, 2, self._final_epochs(), patience=0)
        return self._fit(self._copied(before), events, how)

    def _final_epochs(self) -> int:
        settings = self._run.settings
        if settings.split != "time":
            return settings.epochs.final
        return max(settings.epochs.final, self._liked_epochs)

    def _how(self, stage: str, part: int, epochs: int, patience: int | None = None) -> FitSettings:
        settings = self._run.settings
        return FitSettings(
            stage=stage,
            seed=settings.seed + part,
            learning_rate=settings.learning_rate,
            max_epochs=epochs,
            patience=settings.epochs.patience if patience is None else patience,
            most_steps=settings.epochs.steps,
            judge_start=self._wanted is not None,
        )

    def _begun_network(self) -> RetrieverNetwork:
        network, data = self._new_network(), self._data
        if self._run.warm_start:
            taken = self._run.warm_start.put_into(network, data.encoding, data.table, data.dataset.items)
            self._run.progress(WARM_START, 1.0, f"{taken.ids:,} ids, {taken.features:,} features, {taken.encoders}")
        return network

    def _new_network(self) -> RetrieverNetwork:
        torch.manual_seed(self._run.settings.seed)
        return new_network(self._run.settings.shape, self._data.encoding, len(self._data.dataset.items))

    def _copied(self, before: Retrieval) -> RetrieverNetwork:
        network = self._new_network()
        network.load_state_dict(before.model.network.state_dict())
        return network

    def _fit(self, network: RetrieverNetwork, events: Interactions, how: FitSettings) -> Retrieval:
        def validate() -> float:
            if not how.patience:
                return nan
            retriever = self._data.retriever(network)
            return evaluate(RetrievalOnly(retriever, self._data.profiles), self._data.validation).values["ndcg@10"]

        hide_ids(unseen_rows(events.item_rows, len(self._data.dataset.items)), network.tower.ids)
        sequences = self._data.sequences(events)
        if self._wanted is not None:
            sequences = sequences.asking_only(self._wanted[: len(events)])
        task = RetrievalTask(network, self._data.table, sequences, self._run.settings.retrieval, validate)
        self.reports[how.stage] = fit(task, how, self._run.checkpoints, self._run.progress)
        return self._retrieval(network, events)

    def _retrieval(self, network: RetrieverNetwork, events: Interactions) -> Retrieval:
        model, items = self._data.retriever(network), len(self._data.dataset.items)
        knowledge = KnowledgeSource.of(
            self._transitions(events),
            Statistics.fit(events.item_rows.astype(np.int64), events.values, items),
            model.catalogue_vectors(),
            self._data.table.bags,
            len(self._data.encoding.featurizer.names),
        )
        return Retrieval(model, knowledge, self._data.profiles)

    def _transitions(self, events: Interactions) -> TransitionTable:
        return self._counts(events, self._counter_parameters[1:]).table(self._counter_parameters)

    def _counts(self, events: Interactions, dampings: tuple[float, ...]) -> TransitionCounts:
        users, items = events.by_user(), len(self._data.dataset.items)
        rows = events.item_rows[users.order]
        return TransitionCounts.of((rows, users.offsets), items, self._run.settings.followers, dampings)

    @cached_property
    def _counter_parameters(self) -> tuple[float, float]:
        """Decay and damping: as set, else as validation likes them."""
        settings = self._run.settings
        values = Tried.around(settings.decay, settings.damping)
        counts = self._counts(self._data.train, values.dampings)
        return chosen_parameters(counts, self._data.validation, values)
