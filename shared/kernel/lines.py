"""What a channel of ours calls through: one gRPC channel, or with TLS a new one whenever the certificate changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import grpc

from shared.kernel.tls import Tls, TlsMaterial


class Line(Protocol):
    """Where the next call goes."""

    def channel(self) -> grpc.aio.Channel:
        """The channel for a call that begins now."""

    def began(self, call: grpc.aio.Call) -> None:
        """A call has begun on the channel that was given last."""

    async def close(self, grace: float | None) -> None:
        """Ends everything."""


class PlainLine:
    """One channel for ever."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def channel(self) -> grpc.aio.Channel:
        """The channel."""
        return self._channel

    def began(self, call: grpc.aio.Call) -> None:
        """Nothing to know."""

    async def close(self, grace: float | None) -> None:
        """Closes it."""
        await self._channel.close(grace)


@dataclass(slots=True, eq=False)
class _Opened:
    channel: grpc.aio.Channel
    calls: int = 0


class TlsLine:
    """A channel with the certificate of now. Calls in flight end on the channel that they began on.

    Args:
        tls: The certificate.
        connect: Opens a channel.
    """

    def __init__(self, tls: Tls, connect: Callable[[TlsMaterial], grpc.aio.Channel]) -> None:
        self._tls = tls
        self._connect = connect
        self._material = tls.current()
        self._opened = _Opened(connect(self._material))
        self._retired: set[_Opened] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def channel(self) -> grpc.aio.Channel:
        """The channel for a call that begins now."""
        material = self._tls.current()
        if material is not self._material:
            old, self._opened = self._opened, _Opened(self._connect(material))
            self._material = material
            self._retired.add(old)
            self._close_if_done(old)
        return self._opened.channel

    def began(self, call: grpc.aio.Call) -> None:
        """Counts the call until it ends."""
        opened = self._opened
        opened.calls += 1

        def ended(_: object) -> None:
            opened.calls -= 1
            self._close_if_done(opened)

        call.add_done_callback(ended)

    async def close(self, grace: float | None) -> None:
        """Closes the channel and those that still have calls."""
        open_now = [self._opened, *self._retired]
        self._retired.clear()
        for each in open_now:
            await each.channel.close(grace)
        await asyncio.gather(*self._closing)

    def _close_if_done(self, opened: _Opened) -> None:
        if opened in self._retired and not opened.calls:
            self._retired.discard(opened)
            task = asyncio.get_running_loop().create_task(opened.channel.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
