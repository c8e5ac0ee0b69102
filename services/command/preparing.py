"""What happens to data before anything is learned from them: cleaned, and their contents encoded; told in tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from services.command.output import Bars, fail, table

if TYPE_CHECKING:
    from rich.table import Table

    from services.trainer.content_stage import ContentReport
    from services.trainer.datasets import Dataset
    from services.trainer.datasets_opening import OpenedDataset
    from services.trainer.interchange_reports import ReadReport
    from services.trainer.preprocessing import CleaningOptions, CleaningReport
    from services.trainer.presets import TrainingSettings
    from services.trainer.text_tuning import TextTuning
    from shared.model.content_tuned import TunedLayers

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data that are ready to be learned from.

    Attributes:
        dataset: the data.
        read: what each file gave, and which of its rows were refused.
        cleaning: what was changed.
        content: which vectors items have by now.
        tuning: of the text encoder's last layers; None: they were not tuned here.
    """

    dataset: Dataset
    read: tuple[ReadReport, ...]
    cleaning: CleaningReport
    content: ContentReport
    tuning: TextTuning | None = None

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "files": [asdict(report) for report in self.read],
            "changes": [asdict(change) for change in self.cleaning.changes],
            "vectors": {f"{modality} by {encoder}": n for (modality, encoder), n in self.content.items.items()},
            "refused_contents": [asdict(refusal) for refusal in self.content.refusals],
            "text_tuning": self._tuning_record(),
        }

    def tables(self) -> list[Table]:
        """For people: only what there is something to say about."""
        changes = [
            [change.step, change.count, "; ".join(change.examples[:EXAMPLES])] for change in self.cleaning.changes
        ]
        vectors = [[modality, encoder, count] for (modality, encoder), count in self.content.items.items()]
        refused = [
            [each.item_id, each.reference, each.reason] for each in self.content.refusals[: 2 * EXAMPLES]
        ]  # fmt: skip
        told = f"Contents that could not be used ({len(self.content.refusals)})"
        bad = [[each.source, each.taken, each.refused, _first(each)] for each in self.read if each.refused]
        found = [
            table("Rows that were refused", ["file", "taken", "refused", "first reason"], bad),
            table("Cleaned before training", ["what", "count", "examples"], changes),
            table("Content vectors", ["modality", "encoder", "items"], vectors),
            table(told, ["item", "reference", "why"], refused),
        ]
        if self.tuning is not None:
            encoder = self.tuning.layers.encoder_id if self.tuning.layers else "no better: it stays as it came"
            row = [encoder, self.tuning.pairs, self.tuning.before, self.tuning.after]
            heads = ["encoder", "pairs", "partners' reciprocal rank", "after"]
            found.append(table("Text encoder tuned", heads, [row]))
        return [each for each in found if each.row_count]

    def _tuning_record(self) -> dict[str, Any] | None:
        if self.tuning is None:
            return None
        encoder_id = self.tuning.layers.encoder_id if self.tuning.layers else ""
        return {"encoder_id": encoder_id, "pairs": self.tuning.pairs, "before": self.tuning.before,
                "after": self.tuning.after}  # fmt: skip


def _first(report: ReadReport) -> str:
    return next((f"line {bad.line}: {bad.reason}" for bad in report.examples), "")


def prepared(
    opened: OpenedDataset, options: CleaningOptions, settings: TrainingSettings, carried: TunedLayers | None, bars: Bars
) -> Prepared:
    """Clean the data and give the items their content vectors.

    Args:
        opened: the data.
        options: of cleaning.
        settings: of the training.
        carried: tuned layers of the text encoder, of the bundle that the training goes on from.
        bars: are told.
    """
    from services.trainer.content_stage import text_encoder, with_content
    from services.trainer.datasets import DatasetError
    from services.trainer.fitting import TrainingDivergedError
    from services.trainer.preprocessing import clean
    from shared.model.content import ContentError
    from shared.model.content_opening import content_with

    try:
        cleaned, cleaning = clean(opened.dataset, options)
        text = text_encoder(cleaned, settings, carried, bars)
        vectors = content_with(text.encoder)
        try:
            with_vectors, content = with_content(cleaned, vectors, bars)
        finally:
            vectors.close()
    except (DatasetError, ContentError) as error:
        raise fail(str(error), 2) from error
    except TrainingDivergedError as error:
        raise fail(str(error)) from error
    return Prepared(replace(with_vectors, tuned_text=text.layers), opened.reports, cleaning, content, text.tuning)
