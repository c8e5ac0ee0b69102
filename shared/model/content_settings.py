"""Settings of the content encoders: the same for every service that encodes, so that their vectors fit together."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from shared.kernel.config import ServiceSettings

AUTO, NONE, MINILM, MULTILINGUAL, EFFICIENTNET = "auto", "none", "minilm", "multilingual", "efficientnet-lite0"


class ContentSettings(ServiceSettings, prefix="CONTENT"):
    """Which encoders read items, and what they may read."""

    text_encoder: str = Field(
        AUTO,
        description="minilm (extra `text`), multilingual (extra `multilingual`), a local Hugging Face folder (extra "
        "`text`), none, or auto: the first of the two that is installed",
    )
    tuned_registry_url: str = Field(
        "",
        description="registry whose served bundle may hold tuned last layers of the text encoder, which are read at "
        "the start; empty: DATA_DIR/registry; none: the encoder as it came",
    )
    image_encoder: str = Field(
        AUTO, description="efficientnet-lite0 (extra `image`), none, or auto: where it is installed"
    )
    image_dir: Path | None = Field(
        None, description="folder that items' image references lead into; empty: only data: references are read"
    )
    cache_megabytes: int = Field(
        1_024, ge=1, description="size of the cache of content vectors, 1 kB a text, 3 kB an image"
    )
    batch_items: int = Field(64, ge=1, le=4_096, description="items that are encoded at a time")
    threads: int = Field(1, ge=1, le=256, description="processor threads of an encoder")
