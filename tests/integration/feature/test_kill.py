"""`kill -9` in the middle of applying: afterwards each record counts once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

from services.feature.app import load_projection
from tests.integration.feature.embedded import clean_pass, embedded
from tests.integration.feature.store_places import StorePlace

ROOT = Path(__file__).parents[3]
KILLS = 40 if os.environ.get("WINNOW_SOAK") else 4


def run_and_kill(place: StorePlace, batches: int) -> None:
    """Let the process accept this many batches, then kill it wherever it is."""
    arguments = [str(place.folder), json.dumps(place.settings)]
    command = [sys.executable, "-m", "tests.integration.feature.killed_process", *arguments]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'shared' / 'stubs'}"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(batches):
            assert process.stdout.readline(), "the process ended by itself"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


async def stored_position(place: StorePlace) -> int:
    async with place.opened() as store:
        return (await load_projection(store, 1_000)).progress.applied.offset()


async def test_a_killed_service_has_applied_each_record_once_when_it_is_back(place: StorePlace) -> None:
    random = Random(7)
    positions = [0]
    for _ in range(KILLS):
        run_and_kill(place, random.randrange(5, 120))
        positions.append(await stored_position(place))

        async with embedded(place.folder, **place.settings) as services:
            assert await services.feature.dump() == await clean_pass(services.feedback.log)

    assert positions == sorted(positions)
    assert positions[-1] > 0
