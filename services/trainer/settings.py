"""Settings of the trainer: what a deployment sets once; `winnow train` has options for what changes from run to run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import Field, field_validator

from services.trainer.presets import PRESETS, Epochs, SplitName, TrainingSettings
from services.trainer.slates import AttributionSettings
from services.trainer.slices import SliceSettings
from services.trainer.text_tuning import TextTuningSettings
from shared.kernel.config import ServiceSettings


class TrainerSettings(ServiceSettings, prefix="TRAINER"):
    """What is trained, how large, how sure, and where it is published."""

    registry_url: str = Field("", description="folder or fsspec URL of bundles; empty: DATA_DIR/registry")
    preset: str = Field("small", description="size of the networks: tiny, small, base or large")
    split: SplitName = Field("leave-one-out", description="what is held out to measure on: leave-one-out or time")
    seed: int = Field(0, ge=0, description="of every random choice; the same seed and data give the same bundle")
    threads: int = Field(
        1,
        ge=1,
        le=256,
        description="threads of the training; more gain little on small networks and lose on busy cores",
    )
    final_fit: bool = Field(
        default=True, description="after measuring, train what is served on the held-out events too"
    )
    index_recall_k: int = Field(200, ge=1, description="results at which the index's recall is measured")
    index_recall_target: float = Field(
        0.95, ge=0, le=1, description="least recall of a bundle's index, else it is kept aside"
    )
    validation_users: int = Field(2000, ge=1, description="users that are asked after each epoch at most")
    test_users: int = Field(50_000, ge=1, description="users that a bundle is measured on at most, drawn at random")
    ranker_requests: int = Field(
        100_000, ge=1, description="moments of the past that the ranker learns from at most, drawn at random"
    )
    epoch_steps: int = Field(
        0, ge=0, description="batches after which an epoch of very large data ends and is validated; 0: with the data"
    )

    attribution_hours: float = Field(
        24, gt=0, le=8760, description="events that come later after a slate than this are not its doing"
    )

    tuned_text_layers: int = Field(
        0, ge=0, le=64, description="last layers of the text encoder (extra `text`) that are fine-tuned first; 0: none"
    )
    tuned_text_pairs: int = Field(5000, ge=64, description="pairs of items taken together that an epoch of it looks at")

    @field_validator("preset")
    @classmethod
    def _known(cls, preset: str) -> str:
        if preset not in PRESETS:
            raise ValueError(f"must be one of {', '.join(PRESETS)}")
        return preset

    @property
    def registry(self) -> str:
        """The URL of the registry, the default filled in."""
        return self.registry_url or str(self.data_dir.absolute() / "registry")

    @property
    def work_dir(self) -> Path:
        """What a training keeps until it has ended: checkpoints and bundles in the making."""
        return self.data_dir.absolute() / "training"

    def training(self) -> TrainingSettings:
        """Everything that shapes a bundle."""
        return replace(
            TrainingSettings(),
            split=self.split,
            preset=self.preset,
            seed=self.seed,
            threads=self.threads,
            final_fit=self.final_fit,
            recall_k=self.index_recall_k,
            recall_target=self.index_recall_target,
            validation_users=self.validation_users,
            test_users=self.test_users,
            slice=replace(SliceSettings(), total=self.ranker_requests),
            epochs=replace(Epochs(), steps=self.epoch_steps),
            attribution=AttributionSettings(window_hours=self.attribution_hours),
            text_tuning=TextTuningSettings(layers=self.tuned_text_layers, pairs=self.tuned_text_pairs),
        )
