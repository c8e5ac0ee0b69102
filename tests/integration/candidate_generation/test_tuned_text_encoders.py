"""Bundles whose texts were read by tuned layers, in a process that reads texts otherwise: said, and served."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from structlog.testing import capture_logs

from services.candidate_generation.bundle_watch import load_parts
from shared.domain.items import ContentVector
from shared.model.bundle import Bundle, open_bundle
from tests.integration.candidate_generation.conftest import CREATED_MS
from tests.integration.candidate_generation.trained_bundle import Effort, seal_bundle, small_world, trained

TUNED_ID = "bert-1+aaaa"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of the small world, each item with a text vector by the tuned encoder."""
    world, rng = small_world(), np.random.default_rng(0)
    vectors = (ContentVector("text", TUNED_ID, "", rng.normal(size=4).astype(np.float32)) for _ in world.items)
    items = tuple(replace(item, vectors=(vector,)) for item, vector in zip(world.items, vectors, strict=True))
    world = replace(world, items=items)
    return open_bundle(seal_bundle(tmp_path_factory.mktemp("x") / "b", world, trained(world, Effort(1)), CREATED_MS))


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ("bert-1", [("bert-1+aaaa", "bert-1")]),
        ("bert-1+bbbb", [("bert-1+aaaa", "bert-1+bbbb")]),
        (TUNED_ID, []),
        ("another-2", []),
        ("", []),
    ],
    ids=["as it came", "other layers", "the same", "another encoder", "none"],
)
def test_a_process_with_other_layers_than_the_bundles_says_so(
    bundle: Bundle, here: str, said: list[tuple[str, str]]
) -> None:
    with capture_logs() as lines:
        parts = load_parts(bundle, exact=True, text_encoder_id=here)

    assert parts.version == bundle.manifest.version
    told = [(line["bundle"], line["this_process"]) for line in lines if line["event"] == "bundle.other_text_encoder"]
    assert told == said
