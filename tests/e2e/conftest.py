"""One data folder for all end-to-end tests: MovieLens-100K in the log, and a small bundle that was trained on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.trainer.app import Workplace, train
from services.trainer.datasets_opening import DataSource, open_dataset
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from shared.kernel.clock import system_clock
from shared.model.registry import Registry
from tests.e2e.product import Product, Running
from tests.otlp_receiver import Traces, receiving

FEW_EPOCHS = Epochs(sliced=1, continued=1, ranker=2, final=0)


def winnow(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Give one command and wait for it."""
    environment = {**os.environ, "WINNOW_DATA_DIR": str(data_dir)}
    command = [sys.executable, "-m", "services", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def traces() -> Iterator[Traces]:
    """What the product tells of the requests that its callers trace."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory, traces: Traces) -> Product:
    """MovieLens-100K imported by the command, and a bundle trained for a few epochs: it must work, not be good."""
    data_dir = tmp_path_factory.mktemp("winnow")
    imported = winnow(data_dir, "import", "ml-100k", "--address", "127.0.0.1:1", "--json")
    assert imported.returncode == 0, imported.stderr
    assert sum(line["refused"] for line in json.loads(imported.stdout)) == 0
    dataset = open_dataset(DataSource("ml-100k", cache=data_dir / "cache")).dataset
    settings = replace(TrainingSettings(), preset="tiny", epochs=FEW_EPOCHS, final_fit=False)
    place = Workplace(Registry(str(data_dir / "registry")), data_dir / "training", system_clock)
    report = train(dataset, settings, place, silent)
    assert report.publication.published
    assert report.publication.manifest.serve_order == "ranker"
    tracing = {"WINNOW_TRACING_OTLP_ENDPOINT": traces.endpoint, "WINNOW_TRACING_SAMPLE_RATIO": "0"}
    patient = {"WINNOW_RECOMMENDATION_TARGET_MS": "0", "WINNOW_RECOMMENDATION_LATE_MS": "0"}
    return Product(data_dir, variables={**tracing, **patient, "OTEL_BSP_SCHEDULE_DELAY": "200"})


@pytest.fixture(scope="module")
def running(product: Product) -> Iterator[Running]:
    """The product, serving."""
    with product.serving() as serving:
        yield serving
