"""A name server as headless Services have one: a name is the addresses of its ready pods at this moment."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

QUERY_HEAD: Final = struct.Struct("!HHHHHH")
"""Id, flags, and how many questions, answers, authorities and additional records follow (RFC 1035, section 4.1.1)."""
ANSWER: Final = 0x8400
A, IN = 1, 1
NAME_OF_THE_QUESTION: Final = 0xC00C
"""A pointer to where the question's name begins."""


@dataclass(slots=True)
class Names:
    """Answers questions for A records over UDP while `serving` lasts; it knows no other kind.

    Attributes:
        port: where it answers.
        addresses: by name; change it as pods come and go.
    """

    port: int = 0
    addresses: dict[str, list[str]] = field(default_factory=dict)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer until the block ends."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
            thread = threading.Thread(target=self._answer_all, args=(listener,))
            thread.start()
            try:
                yield
            finally:
                listener.sendto(b"", ("127.0.0.1", self.port))
                thread.join()

    def target(self, name: str, port: int) -> str:
        """The gRPC target of a name."""
        return f"dns://127.0.0.1:{self.port}/{name}:{port}"

    def _answer_all(self, listener: socket.socket) -> None:
        while True:
            query, asker = listener.recvfrom(4096)
            if not query:
                return
            listener.sendto(self._answer(query), asker)

    def _answer(self, query: bytes) -> bytes:
        number, *_ = QUERY_HEAD.unpack_from(query)
        labels, end = _labels(query, QUERY_HEAD.size)
        kind, _ = struct.unpack_from("!HH", query, end)
        question = query[QUERY_HEAD.size : end + 4]
        found = self.addresses.get(".".join(labels), []) if kind == A else []
        records = b"".join(
            struct.pack("!HHHIH", NAME_OF_THE_QUESTION, A, IN, 0, 4) + socket.inet_aton(address) for address in found
        )
        return QUERY_HEAD.pack(number, ANSWER, 1, len(found), 0, 0) + question + records


def _labels(query: bytes, at: int) -> tuple[list[str], int]:
    """The parts of a name, and where it ends."""
    labels = []
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return labels, at + 1
