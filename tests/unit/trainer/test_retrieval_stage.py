"""How long a retriever goes on when validation can say nothing more."""

from __future__ import annotations

from dataclasses import replace

from services.trainer.presets import Epochs, SplitName, TrainingSettings
from services.trainer.progress import silent
from services.trainer.retrieval_stage import Encoded, RetrievalStage, Run
from services.trainer.training import divided
from tests.unit.trainer.data_worlds import walks

SETTINGS = replace(
    TrainingSettings(), preset="tiny", decay=0.5, damping=0.5, epochs=Epochs(sliced=0, continued=3, final=1)
)


def stage_of(split: SplitName) -> RetrievalStage:
    """A stage whose retriever went on once, and once more for the test."""
    settings, data = replace(SETTINGS, split=split), walks()
    validation, test = divided(data, settings)
    stage = RetrievalStage(Encoded.of(data, validation, settings), Run(settings, silent))
    served = stage.fit_on(stage.fit_new(validation.train, "new"), validation.train, "on")
    stage.fit_final(served, test.train, "final")
    return stage


def test_after_a_cut_in_time_a_retriever_goes_on_as_long_as_validation_liked_before() -> None:
    stage = stage_of("time")

    assert stage.reports["on"].best_epoch > 1
    assert stage.reports["final"].epochs == stage.reports["on"].best_epoch


def test_with_one_more_event_of_each_user_it_goes_on_as_long_as_it_is_set() -> None:
    assert stage_of("leave-one-out").reports["final"].epochs == SETTINGS.epochs.final
