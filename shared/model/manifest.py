"""What a bundle says about itself: how it was made, on which events, how good it is and what it consists of."""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 2

SettingValue = str | int | float | bool | None


class _Frozen(BaseModel):
    # A measured value may be NaN (nobody to measure on); JSON has no NaN, so it is written as a string.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class FileEntry(_Frozen):
    """One file of a bundle."""

    name: str
    size_bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class GateResult(_Frozen):
    """One condition that a bundle had to meet.

    Attributes:
        name: e.g. `index_recall`.
        passed: whether it did.
        measured, required: the two numbers that were compared.
        detail: a sentence for people.
        blocking: whether a failure keeps the bundle from being served (otherwise it only changes how it is served).
    """

    name: str
    passed: bool
    measured: float
    required: float
    detail: str
    blocking: bool = True


class Holdout(_Frozen):
    """Which events the weights never saw, so that an evaluation knows what it may measure.

    Attributes:
        split: `none` = trained on every event, any evaluation on the same data is in-sample;
            `leave-one-out` = the last two events of each user were kept out; `time` = everything from `cut_ms` on was;
            `newest` = of the new events that a bundle went on with, those from `cut_ms` on.
        cut_ms: Unix milliseconds of the first event kept out (`time` and `newest`), else 0.
        events: how many events were kept out.
    """

    split: Literal["none", "leave-one-out", "time", "newest"]
    cut_ms: int = 0
    events: int = 0


ServeOrder = Literal["ranker", "retrieval", "transitions"]


class ManifestFacts(_Frozen):
    """Everything in a manifest that the trainer knows before the files are sealed.

    Attributes:
        created_ms: Unix milliseconds.
        watermark: position of the event log that the data was read at; "" for data from files.
        seed: of every random choice.
        data_name: the data set, for people.
        data_fingerprint: of its users, items and events; "" = not known.
        trained_events: how many events the weights were fitted on.
        trained_until_ms: time of the last of them.
        holdout: which events they never saw.
        evaluation_version: the sibling bundle that was trained without the held-out events, "" when this is it.
        serve_order: whose order is served, the best on validation: `ranker`, `retrieval` or `transitions`.
        actions: `EventType` codes of the ranker's heads, in their order.
        search_k: the index's search effort, as tuned.
        retriever, ranker, index, training: settings by section, so that a reader can rebuild the models.
        metrics: by name, e.g. `test.two_stage.ndcg@10`.
        gates: their results.
    """

    created_ms: int = Field(ge=0)
    watermark: str = ""
    seed: int
    data_name: str
    data_fingerprint: str = ""
    trained_events: int = Field(ge=0)
    trained_until_ms: int
    holdout: Holdout
    evaluation_version: str = ""
    serve_order: ServeOrder
    actions: tuple[int, ...]
    search_k: int = Field(gt=0)
    retriever: dict[str, SettingValue]
    ranker: dict[str, SettingValue]
    index: dict[str, SettingValue]
    training: dict[str, SettingValue]
    metrics: dict[str, float]
    gates: tuple[GateResult, ...]

    @property
    def publishable(self) -> bool:
        """Whether every blocking gate passed."""
        return all(gate.passed for gate in self.gates if gate.blocking)


class Manifest(ManifestFacts):
    """A sealed manifest: the facts, the version and the files."""

    schema_version: int
    version: str = Field(pattern=r"^\d{8}T\d{9}-[0-9a-f]{8}$")
    files: tuple[FileEntry, ...]
    checksum: str = ""

    def computed_checksum(self) -> str:
        """The sha256 of everything else here: a flipped bit in the manifest itself is noticed too."""
        return hashlib.sha256(self.model_copy(update={"checksum": ""}).model_dump_json().encode()).hexdigest()
