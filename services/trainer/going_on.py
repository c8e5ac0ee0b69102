"""Models that were chosen go on with later events: for the test with those before it, to be served with all.

The retriever's weights go on, counters and features follow. The ranker's weights stay, or, behind a cut in time, the
ranker is fitted anew by the recipe that validation chose: the retriever before it went on has not seen what came since,
so its candidates for that time teach, as those of the slice did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.trainer.moments import Moments
from services.trainer.ranking_stage import RankingStage, Recipe
from services.trainer.retrieval_stage import Encoded, RetrievalStage, Run
from services.trainer.slices import slice_behind
from services.trainer.splits import Split
from services.trainer.two_stage import Retrieval, TwoStage
from shared.model.ranker import RankerModel


@dataclass(frozen=True, slots=True)
class GoingOn:
    """Lets both stages learn later events.

    Attributes:
        retrievers: lets a retriever go on.
        data: with the validation split, on which the models were chosen.
        run: of the training.
        recipe: by which the ranker is fitted again; None: its weights stay.
    """

    retrievers: RetrievalStage
    data: Encoded
    run: Run
    recipe: Recipe | None = None

    def until(self, split: Split, models: TwoStage, before: Split, name: str) -> TwoStage:
        """The models with all that may be learned before another split.

        Args:
            split: whose train part is learned.
            models: that go on.
            before: the split whose train part they have learned.
            name: for progress and checkpoints.
        """
        if len(split.train) == len(self.data.train):
            return models
        retrieval = self.retrievers.fit_final(models.retrieval, split.train, f"retriever-{name}")
        moments = Moments.of(split.train, self.data.dataset.item_details)
        gone_on = replace(models, retrieval=retrieval, moments=moments)
        again = self._ranker(split, models.retrieval, len(before.train), gone_on, name)
        return replace(gone_on, ranker=again or _knowing(models.ranker, retrieval))

    def _ranker(self, split: Split, sliced: Retrieval, border: int, gone_on: TwoStage, name: str) -> RankerModel | None:
        """The ranker by the recipe, on what came between the two splits; None: nothing to learn from."""
        if self.recipe is None:
            return None
        data = replace(self.data, validation=split)
        cut = slice_behind(data.sequences(split.train), split.train.times_s, border, self.run.settings.slice.most)
        stage = RankingStage(data, cut, gone_on.moments, self.run)
        return stage.fit_again(sliced, gone_on.retrieval, self.recipe, f"ranker-{name}")


def _knowing(ranker: RankerModel, retrieval: Retrieval) -> RankerModel:
    return RankerModel(replace(ranker.parts, knowledge=retrieval.knowledge))
