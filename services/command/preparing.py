"""What happens to data before anything is learned from them: cleaned, and their contents encoded; told in tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from services.command.output import Bars, fail, table

if TYPE_CHECKING:
    from rich.table import Table

    from services.trainer.content_stage import ContentReport
    from services.trainer.datasets import Dataset
    from services.trainer.datasets_opening import OpenedDataset
    from services.trainer.interchange_reports import ReadReport
    from services.trainer.preprocessing import CleaningOptions, CleaningReport

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """Data that are ready to be learned from.

    Attributes:
        dataset: the data.
        read: what each file gave, and which of its rows were refused.
        cleaning: what was changed.
        content: which vectors items have by now.
    """

    dataset: Dataset
    read: tuple[ReadReport, ...]
    cleaning: CleaningReport
    content: ContentReport

    def as_record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "files": [asdict(report) for report in self.read],
            "changes": [asdict(change) for change in self.cleaning.changes],
            "vectors": {f"{modality} by {encoder}": n for (modality, encoder), n in self.content.items.items()},
            "refused_contents": [asdict(refusal) for refusal in self.content.refusals],
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
        return [each for each in found if each.row_count]


def _first(report: ReadReport) -> str:
    return next((f"line {bad.line}: {bad.reason}" for bad in report.examples), "")


def prepared(opened: OpenedDataset, options: CleaningOptions, bars: Bars) -> Prepared:
    """Clean the data and give the items their content vectors."""
    from services.trainer.content_stage import with_content
    from services.trainer.datasets import DatasetError
    from services.trainer.preprocessing import clean
    from shared.model.content import ContentError
    from shared.model.content_opening import open_content

    try:
        cleaned, cleaning = clean(opened.dataset, options)
        vectors = open_content()
        try:
            with_vectors, content = with_content(cleaned, vectors, bars)
        finally:
            vectors.close()
    except (DatasetError, ContentError) as error:
        raise fail(str(error), 2) from error
    return Prepared(with_vectors, opened.reports, cleaning, content)
