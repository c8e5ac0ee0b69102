"""Lines and blocks of a text file that may be compressed, may break off and may be damaged.

One line is one row, always: a stray quote or a broken byte damages its own line and no other.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

from services.trainer.datasets import DatasetError
from services.trainer.interchange_reports import RefusalLog

BLOCK_BYTES = 16 << 20
MAX_LINE_BYTES = 616 << 20
_READ_BYTES = 256 << 10
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Whole lines of a file.

    Attributes:
        first_line: the number of the first line, from 1.
        content: the lines, each ended by one line feed (the last of the file perhaps not).
    """

    first_line: int
    content: bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Number and content of every line that is not blank."""
        for offset, line in enumerate(self.content.split(b"\n")):
            if line.strip():
                yield self.first_line + offset, line


def read_blocks(path: Path, log: RefusalLog) -> Iterator[TextBlock]:
    """Read a plain or gzip file (told by its first bytes) in blocks of whole lines.

    A file that breaks off or is damaged half-way gives what could be read, and one refusal that says where it ended.

    Raises:
        DatasetError: there is no such file, it cannot be opened, or a line is longer than `MAX_LINE_BYTES`.
    """
    rest, line = b"", 1
    damage: list[str] = []
    with _opened(path) as stream:
        for chunk in _chunks(stream, damage):
            head, feed, tail = chunk.rpartition(b"\n")
            if not feed:
                rest = _longer(rest, chunk, path, line)
                continue
            content = (rest + head + feed).replace(b"\r\n", b"\n")
            yield TextBlock(line, content)
            line += content.count(b"\n")
            rest = tail
    if rest and not damage:  # a line cut short may look whole
        yield TextBlock(line, rest.rstrip(b"\r"))
    for reason in damage:
        log.refuse(line, f"the file is damaged soon after this line and the rest is lost: {reason}")


def _longer(rest: bytes, chunk: bytes, path: Path, line: int) -> bytes:
    if len(rest) + len(chunk) > MAX_LINE_BYTES:
        raise DatasetError(f"line {line} of {path} is longer than {MAX_LINE_BYTES:,} bytes: is this a file of rows?")
    return rest + chunk


def _opened(path: Path) -> BufferedIOBase:
    try:
        with path.open("rb") as probe:
            compressed = probe.read(2) == _GZIP_MAGIC
        return gzip.open(path, "rb") if compressed else path.open("rb")
    except OSError as error:
        raise DatasetError(f"cannot open {path}: {error.strerror}; check the path and its permissions") from error


def _chunks(stream: BufferedIOBase, damage: list[str]) -> Iterator[bytes]:
    """What can be read, in pieces of about `BLOCK_BYTES`; the reason goes to `damage` when the stream fails."""
    pieces, size = [], 0
    try:
        while piece := stream.read1(_READ_BYTES):  # `read` would lose what a truncated stream still held
            pieces.append(piece)
            size += len(piece)
            if size >= BLOCK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
    except (OSError, EOFError, zlib.error) as error:
        damage.append(str(error))
    yield b"".join(pieces)
