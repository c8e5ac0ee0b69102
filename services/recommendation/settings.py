"""Settings of the front."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from shared.kernel.hosting import SharedPortSettings


class RecommendationSettings(SharedPortSettings, prefix="RECOMMENDATION"):
    """Where the front listens, whom it asks and how long it waits."""

    address: str = Field("127.0.0.1:50051", description="host:port that the service listens on")
    metrics_port: int = Field(51051, ge=0, le=65535, description="port of Prometheus metrics; 0 takes a free one")
    candidate_generation_address: str = Field("127.0.0.1:50052", description="host:port of candidate generation")
    feature_address: str = Field("127.0.0.1:50053", description="host:port of the feature service")
    ranking_address: str = Field("127.0.0.1:50054", description="host:port, or any gRPC target, of the ranker")
    ranking_token: SecretStr | None = Field(None, description="token that the ranker asks for")
    feedback_address: str = Field("127.0.0.1:50055", description="host:port of feedback")
    budget_ms: int = Field(
        2_000, ge=1, description="longest time for an answer; a caller's shorter deadline shortens it"
    )
    answer_margin_ms: int = Field(10, ge=0, description="part of the caller's deadline kept for sending the answer")
    target_ms: float = Field(
        100.0, ge=0, description="fewer candidates are ranked while answers take longer than this; 0: never fewer"
    )
    target_percentile: float = Field(0.95, gt=0, lt=1, description="share of the answers that shall meet the target")
    late_ms: float = Field(
        150.0, ge=0, description="fewer slates are made at once while answers take longer than this; 0: no such limit"
    )
    page_token_secret: SecretStr | None = Field(
        None,
        min_length=16,
        validate_default=True,
        description="signs page tokens; default: new at each start, so tokens end with the process and each replica's "
        "are its own: set it where there are several",
    )
    page_life_seconds: int = Field(1_800, ge=1, description="how long a page token may be used")
    reserve_slates: int = Field(2_000, ge=0, description="slates kept for next pages; older ones are read from the log")
    waiting_slates: int = Field(1_000, ge=1, description="served slates that may wait for the log; more are lost")
    close_seconds: float = Field(5.0, ge=0, description="time to record the last slates when the service stops")
    memory_items: int = Field(50_000, ge=1, description="items remembered for when the feature store does not answer")
    popular_refresh_seconds: float = Field(30.0, gt=0, description="how often the remembered popular items are read")
    surfaces_dir: Path | None = Field(
        None, description="folder of <surface>.yaml files, which must hold default.yaml; default: those of the package"
    )
    surfaces_poll_seconds: float = Field(1.0, gt=0, description="how often the surfaces' files are looked at")

    @field_validator("page_token_secret")
    @classmethod
    def _one_secret_for_all_workers(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if secret is None and info.data.get("workers", 1) > 1:
            raise ValueError(f"{info.data['workers']} workers need it: each would refuse the others' page tokens")
        return secret
