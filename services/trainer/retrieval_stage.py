"""The first stage of a training: the retriever that has not seen the slice, and the one that is served."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from services.trainer.datasets import Dataset, Interactions
from services.trainer.evaluation import evaluate
from services.trainer.fitting import FitSettings, fit
from services.trainer.progress import Progress
from services.trainer.retrieval_training import RetrievalTask
from services.trainer.sequences import TrainingSequences
from services.trainer.settings import TrainingSettings
from services.trainer.splits import Split
from services.trainer.two_stage import Retrieval, RetrievalOnly
from shared.model.encoding import ValueScale
from shared.model.item_tower import ItemEncoding, ItemTable
from shared.model.knowledge import KnowledgeSource, Statistics
from shared.model.retriever import RetrieverModel, RetrieverNetwork, new_network
from shared.model.transitions import TransitionTable, transition_table


@dataclass(frozen=True, slots=True)
class Encoded:
    """The data set as the networks read it.

    Attributes:
        dataset: all of it.
        validation: whose train part may be learned from, and who is asked after each epoch.
        encoding, table: the items.
        scale: of event values, fitted on the train part.
    """

    dataset: Dataset
    validation: Split
    encoding: ItemEncoding
    table: ItemTable
    scale: ValueScale

    @classmethod
    def of(cls, dataset: Dataset, validation: Split, settings: TrainingSettings) -> Encoded:
        """Fit the encodings."""
        encoding = ItemEncoding.fit(dataset.item_details, settings.feature_limit)
        scale = ValueScale.fit(validation.train.event_types, validation.train.values)
        asked = validation.sampled(settings.validation_users, np.random.default_rng(settings.seed))
        return cls(dataset, asked, encoding, encoding.table(dataset.item_details, dataset.items), scale)

    @property
    def train(self) -> Interactions:
        """What may be learned from."""
        return self.validation.train

    def sequences(self, events: Interactions) -> TrainingSequences:
        """Events grouped by user."""
        return TrainingSequences.of(events, self.scale)

    def retriever(self, network: RetrieverNetwork) -> RetrieverModel:
        """A network as it is served."""
        return RetrieverModel(network, self.encoding, self.table, self.dataset.items, self.scale)


class RetrievalStage:
    """Fits retrievers on parts of the events.

    Args:
        data: encoded.
        settings: of the training.
        progress: is told.
    """

    def __init__(self, data: Encoded, settings: TrainingSettings, progress: Progress) -> None:
        self._data, self._settings, self._progress = data, settings, progress

    def fit_sliced(self, events: Interactions) -> Retrieval:
        """A new retriever, on the events before the slice."""
        network = self._new_network()
        self._fit(network, events, FitSettings(
            "retriever", self._settings.seed, self._settings.learning_rate,
            max_epochs=self._settings.epochs.sliced, patience=self._settings.epochs.patience,
        ))  # fmt: skip
        return self._retrieval(network, events)

    def fit_served(self, sliced: Retrieval, events: Interactions) -> Retrieval:
        """The same, gone on with all events."""
        network = self._new_network()
        network.load_state_dict(sliced.model.network.state_dict())
        self._fit(network, events, FitSettings(
            "retriever, all events", self._settings.seed + 1, self._settings.learning_rate,
            max_epochs=self._settings.epochs.continued, patience=self._settings.epochs.patience,
        ))  # fmt: skip
        return self._retrieval(network, events)

    def _new_network(self) -> RetrieverNetwork:
        torch.manual_seed(self._settings.seed)
        return new_network(self._settings.shape, self._data.encoding, len(self._data.dataset.items))

    def _fit(self, network: RetrieverNetwork, events: Interactions, how: FitSettings) -> None:
        def validate() -> float:
            network.eval()
            return evaluate(RetrievalOnly(self._data.retriever(network)), self._data.validation).values["ndcg@10"]

        sequences = self._data.sequences(events)
        task = RetrievalTask(network, self._data.table, sequences, self._settings.retrieval, validate)
        fit(task, how, None, self._progress)

    def _retrieval(self, network: RetrieverNetwork, events: Interactions) -> Retrieval:
        model, items = self._data.retriever(network), len(self._data.dataset.items)
        knowledge = KnowledgeSource.of(
            self._transitions(events),
            Statistics.fit(events.item_rows.astype(np.int64), events.values, items),
            model.catalogue_vectors(),
            self._data.table.bags,
            len(self._data.encoding.featurizer.names),
        )
        return Retrieval(model, knowledge)

    def _transitions(self, events: Interactions) -> TransitionTable:
        sequences = self._data.sequences(events)
        return transition_table(
            (sequences.item_rows, sequences.offsets),
            len(self._data.dataset.items),
            self._settings.followers,
            (self._settings.decay, self._settings.damping),
        )
