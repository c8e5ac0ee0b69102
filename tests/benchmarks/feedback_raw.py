"""What the storage below the feedback service takes by itself: `sqlite3`, Kafka's producer, Redis's pipelines."""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from services.feedback.sqlite_database import connect
from tests.redis_server import RedisServer

ROW_BYTES = 150
"""A sealed event of the benchmark, with its nonce and tag."""
PIPELINE = 1_000
_numbers = count()


def sqlite_rate(folder: Path, group: int, rows: int) -> float:
    """Rows a second that `sqlite3` alone commits in groups, with the log's own settings of durability."""
    database = connect(folder / f"raw-{next(_numbers)}.db")
    database.execute("CREATE TABLE log (log_offset INTEGER PRIMARY KEY, payload BLOB NOT NULL)")
    payload = os.urandom(ROW_BYTES)
    began = time.perf_counter()
    for start in range(0, rows, group):
        database.execute("BEGIN IMMEDIATE")
        part = ((row, payload) for row in range(start, min(start + group, rows)))
        database.executemany("INSERT INTO log VALUES (?, ?)", part)
        database.execute("COMMIT")
    seconds = time.perf_counter() - began
    database.close()
    return rows / seconds


def kafka_rate(bootstrap: str, group: int, rows: int) -> float:
    """Messages a second that an idempotent producer with `acks=all` has acknowledged, group by group."""
    topic = f"raw-{next(_numbers)}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 6, 1)])[topic].result(10)
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0})
    payload = os.urandom(ROW_BYTES)
    producer.produce(topic, payload, b"first")
    producer.flush()
    began = time.perf_counter()
    for start in range(0, rows, group):
        for row in range(start, min(start + group, rows)):
            producer.produce(topic, payload, b"%d" % (row % 5_000))
        producer.flush()
    return rows / (time.perf_counter() - began)


def redis_rates(server: RedisServer, rows: int) -> tuple[float, float]:
    """`XADD` and `HSET` a second in pipelines of a thousand, with the server's append-only file on."""
    payload = os.urandom(ROW_BYTES)
    rates = []
    with server.client() as client:
        for name in ("xadd", "hset"):
            began = time.perf_counter()
            for start in range(0, rows, PIPELINE):
                with client.pipeline(transaction=False) as pipe:
                    for row in range(start, start + PIPELINE):
                        if name == "xadd":
                            pipe.xadd("raw-stream", {"event": payload})
                        else:
                            pipe.hset("raw-hash", str(row), payload)
                    pipe.execute()
            rates.append(rows / (time.perf_counter() - began))
    return rates[0], rates[1]
