"""librdkafka's mock cluster: three brokers in this process that fail as they are told.

The Python client offers only the cluster's size, so the C interface is called directly: `rdkafka_mock.h` of the library
that the client brings along. The mock speaks the protocol of transactions but shows what an aborted one wrote.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import confluent_kafka

PRODUCER_TYPE = 0
PRODUCE, FETCH, METADATA, INIT_PRODUCER_ID, ADD_PARTITIONS, END_TXN = 0, 1, 3, 22, 24, 26
"""Numbers of requests in Kafka's protocol."""
BROKERS = 3


class MockCluster:
    """The brokers 1 to 3."""

    def __init__(self, handle: Any, cluster: Any) -> None:
        self._handle, self._cluster = handle, cluster
        self.bootstrap: str = _library().rd_kafka_mock_cluster_bootstraps(cluster).decode()

    def topic(self, name: str, partitions: int) -> None:
        """Make a topic, which the mock does not do when a client asks."""
        assert _library().rd_kafka_mock_topic_create(self._cluster, name.encode(), partitions, BROKERS) == 0

    def fail(self, request: int, errors: Sequence[int]) -> None:
        """The next requests of a kind are answered by these errors, one each."""
        codes = (ctypes.c_int * len(errors))(*errors)
        _library().rd_kafka_mock_push_request_errors_array(self._cluster, request, len(errors), codes)

    def heal(self, request: int) -> None:
        """Requests of a kind are served again."""
        _library().rd_kafka_mock_clear_request_errors(self._cluster, request)

    def down(self, *brokers: int) -> None:
        """Cut brokers off: connections end, new ones are refused."""
        for broker in brokers or range(1, BROKERS + 1):
            assert _library().rd_kafka_mock_broker_set_down(self._cluster, broker) == 0

    def up(self, *brokers: int) -> None:
        """Bring brokers back."""
        for broker in brokers or range(1, BROKERS + 1):
            assert _library().rd_kafka_mock_broker_set_up(self._cluster, broker) == 0

    def lead(self, topic: str, partition: int, broker: int) -> None:
        """Make a broker the leader of a partition."""
        assert _library().rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, broker) == 0

    def slow(self, rtt_ms: int) -> None:
        """Every answer takes this long."""
        for broker in range(1, BROKERS + 1):
            assert _library().rd_kafka_mock_broker_set_rtt(self._cluster, broker, rtt_ms) == 0


@contextmanager
def mock_cluster() -> Iterator[MockCluster]:
    """A cluster until the block ends."""
    library, why = _library(), ctypes.create_string_buffer(512)
    settings = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(settings, b"log_level", b"2", why, len(why))  # it has no servers, and says so
    handle = library.rd_kafka_new(PRODUCER_TYPE, settings, why, len(why))
    assert handle, why.value
    cluster = library.rd_kafka_mock_cluster_new(handle, BROKERS)
    try:
        yield MockCluster(handle, cluster)
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(handle)


@cache
def _library() -> Any:
    package = Path(confluent_kafka.__file__).parent
    places = [*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")]
    library = ctypes.CDLL(str(places[0]) if places else "librdkafka.so.1")
    pointer, integer, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "rd_kafka_conf_new": (pointer, []),
        "rd_kafka_conf_set": (integer, [pointer, text, text, text, ctypes.c_size_t]),
        "rd_kafka_new": (pointer, [integer, pointer, text, ctypes.c_size_t]),
        "rd_kafka_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_new": (pointer, [pointer, integer]),
        "rd_kafka_mock_cluster_destroy": (None, [pointer]),
        "rd_kafka_mock_cluster_bootstraps": (text, [pointer]),
        "rd_kafka_mock_topic_create": (integer, [pointer, text, integer, integer]),
        "rd_kafka_mock_push_request_errors_array": (
            None,
            [pointer, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(integer)],
        ),
        "rd_kafka_mock_clear_request_errors": (None, [pointer, ctypes.c_int16]),
        "rd_kafka_mock_broker_set_down": (integer, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_up": (integer, [pointer, ctypes.c_int32]),
        "rd_kafka_mock_broker_set_rtt": (integer, [pointer, ctypes.c_int32, integer]),
        "rd_kafka_mock_partition_set_leader": (integer, [pointer, text, integer, ctypes.c_int32]),
    }
    for name, (answer, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = answer, arguments
    return library
