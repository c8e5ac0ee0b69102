"""A TCP proxy that hands on what a server says as late as a test wants: a slow service without touching the service."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

CHUNK = 65_536


@dataclass
class SlowLine:
    """A line to a server.

    Attributes:
        target: `host:port` of the server.
        delay_s: what the server says from now on arrives so much later, in order.
        address: `host:port` to call instead.
    """

    target: str
    delay_s: float = 0.0
    address: str = ""

    @classmethod
    @contextmanager
    def to(cls, target: str) -> Iterator[SlowLine]:
        """A line that stands while the block lasts, in a thread of its own."""
        line, loop = cls(target), asyncio.new_event_loop()
        ready, over = threading.Event(), asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=(line._serve(ready, over),))
        thread.start()
        ready.wait()
        try:
            yield line
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()
            loop.close()

    async def _serve(self, ready: threading.Event, over: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.address = "{}:{}".format(*server.sockets[0].getsockname())
        ready.set()
        await over.wait()
        server.close()
        ends = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)

    async def _connected(self, caller: asyncio.StreamReader, to_caller: asyncio.StreamWriter) -> None:
        """One connection, until either end closes it."""
        host, _, port = self.target.rpartition(":")
        try:
            server, to_server = await asyncio.open_connection(host, int(port))
        except OSError:  # nobody is there: the caller sees a connection that breaks
            to_caller.transport.abort()
            return
        said: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        works = [_forward(caller, to_server), self._listen(server, said), _speak(said, to_caller)]
        tasks = [asyncio.ensure_future(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            to_caller.transport.abort()
            to_server.transport.abort()

    async def _listen(self, server: asyncio.StreamReader, said: asyncio.Queue[tuple[float, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        with suppress(OSError):
            while chunk := await server.read(CHUNK):
                said.put_nowait((loop.time() + self.delay_s, chunk))


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()


async def _speak(said: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while True:
            due_s, chunk = await said.get()
            await asyncio.sleep(due_s - loop.time())
            writer.write(chunk)
            await writer.drain()
