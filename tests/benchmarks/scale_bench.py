"""Memory and time of `winnow train` on ten million synthetic interactions: `make bench-scale`.

    python -m tests.benchmarks.scale_bench [--events 10000000 --users 200000 --items 100000]

Users walk from item to item inside their own taste (half of the steps to one of the next items of a ring, else to a
popular item of their part of the catalogue), so there is something to learn. An epoch ends after a fixed number of
batches: how much memory a training takes does not depend on how long it runs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SEED = 0
TASTES = 100
SETTINGS = {
    "WINNOW_TRAINER_PRESET": "tiny",
    "WINNOW_TRAINER_EPOCH_STEPS": "200",
    "WINNOW_TRAINER_VALIDATION_USERS": "500",
    "WINNOW_TRAINER_TEST_USERS": "500",
    "WINNOW_TRAINER_RANKER_REQUESTS": "10000",
    "WINNOW_TRAINER_FINAL_FIT": "false",
}


def main() -> None:
    """Write the events, train on them in a process of its own, print what it took."""
    options = argparse.ArgumentParser()
    options.add_argument("--events", type=int, default=10_000_000)
    options.add_argument("--users", type=int, default=200_000)
    options.add_argument("--items", type=int, default=100_000)
    options.add_argument("--folder", type=Path, default=None)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="winnow-scale-", dir=asked.folder) as folder:
        path = Path(folder) / "interactions.parquet"
        write_events(path, asked.events, asked.users, asked.items)
        size = path.stat().st_size / 2**20
        print(f"{asked.events:,} events of {asked.users:,} users and {asked.items:,} items, {size:.0f} MiB of Parquet")
        print(f"load before: {os.getloadavg()[0]:.1f}", flush=True)
        begin = time.perf_counter()
        command = [sys.executable, "-m", "services", "train", "--interactions", str(path)]
        done = subprocess.run(command, env=os.environ | SETTINGS | {"WINNOW_DATA_DIR": folder}, check=False)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds, processor = time.perf_counter() - begin, used.ru_utime + used.ru_stime
        print(f"exit code {done.returncode} (3: a gate failed), {seconds:.0f} s wall, {processor:.0f} s CPU")
        print(f"peak resident set {used.ru_maxrss / 2**20:.2f} GiB")


def write_events(path: Path, events: int, users: int, items: int) -> None:
    """Events in the interchange form, all users at once, one after another in time."""
    rng = np.random.default_rng(SEED)
    per_user, part = max(3, events // users), items // TASTES
    taste = rng.integers(0, TASTES, users)
    place = rng.integers(0, part, users)
    schema = pa.schema([("user_id", pa.string()), ("item_id", pa.string()), ("event_type", pa.string()),
                        ("value", pa.float64()), ("timestamp", pa.int64())])  # fmt: skip
    names = pa.array([f"u{user}" for user in range(users)])
    with pq.ParquetWriter(path, schema) as writer:
        for turn in range(per_user):
            step = (place + rng.integers(1, 4, users)) % part
            popular = np.minimum(part * rng.random(users) ** 3, part - 1).astype(np.int64)
            place = np.where(rng.random(users) < 0.5, step, popular)
            item_ids = pa.array([f"i{item}" for item in taste * part + place])
            times = turn * 86_400 + rng.integers(0, 86_400, users) + 1_600_000_000
            columns = [names, item_ids, pa.array(["click"] * users), pa.nulls(users, pa.float64()), pa.array(times)]
            writer.write_table(pa.table(columns, schema=schema))


if __name__ == "__main__":
    main()
