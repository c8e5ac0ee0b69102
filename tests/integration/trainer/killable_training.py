"""A small training as a process of its own: `python -m tests.integration.trainer.killable_training FOLDER`."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from services.trainer.app import Workplace, train
from services.trainer.presets import Epochs, TrainingSettings
from services.trainer.progress import silent
from shared.kernel.clock import system_clock
from shared.model.registry import Registry
from tests.unit.trainer.data_worlds import walks


def main(folder: Path) -> None:
    """Train both stages and publish."""
    epochs = Epochs(sliced=4, continued=1, ranker=1, final=0)
    settings = replace(TrainingSettings(), preset="tiny", epochs=epochs, final_fit=False)
    report = train(walks(), settings, Workplace(Registry(str(folder / "registry")), folder, system_clock), silent)
    sys.stdout.write(report.publication.version)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
