"""Ports for servers of tests: below those that the kernel gives to connections that go out.

A server of a test starts seconds after its port was chosen, and some are stopped and started again on the same one; a
port of the kernel's own range may then belong to anybody's connection.
"""

from __future__ import annotations

import random
import socket

FIRST, LAST = 15_000, 32_000
_random = random.SystemRandom()


def free_port() -> int:
    """A port of loopback that nobody has now."""
    while True:
        port = _random.randint(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
