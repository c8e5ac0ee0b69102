"""Where an item's image may come from: a folder that the operator opens, or the reference itself (`data:`).

Items come from clients, so their references are not to be trusted: nothing is fetched from a network, and a path never
leads out of the folder, neither by `..` nor by a link.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.domain.items import Item
from shared.model.content import ContentError

LARGEST_BYTES = 20 * 1024 * 1024


class ImageReader:
    """Reads images of items.

    Args:
        folder: below which references are looked up; None: only `data:` references are read.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder.resolve() if folder else None

    def reference(self, item: Item) -> str:
        """The item's reference."""
        return item.image_uri

    def read(self, item: Item) -> bytes:
        """The image file's bytes; empty when the item has no image.

        Raises:
            ContentError: it may not or cannot be read.
        """
        uri = item.image_uri
        if not uri:
            return b""
        if uri[:5].lower() == "data:":
            return _inline(uri)
        scheme, path = _split(uri)
        if scheme not in {"", "file"}:
            raise ContentError(
                f"references of kind {scheme!r} are not fetched; put images into WINNOW_CONTENT_IMAGE_DIR and name "
                "them by their path in it, or send the item's vector"
            )
        return self._file(path)

    def _file(self, name: str) -> bytes:
        if self._folder is None:
            raise ContentError("no folder of images is set; set WINNOW_CONTENT_IMAGE_DIR")
        try:
            path = (self._folder / name).resolve(strict=True)
            if not path.is_relative_to(self._folder):
                raise ContentError("it lies outside WINNOW_CONTENT_IMAGE_DIR")
            if not path.is_file():  # a pipe would be read for ever
                raise ContentError("it is no file")
            with path.open("rb") as file:
                content = file.read(LARGEST_BYTES + 1)
        except (OSError, ValueError) as error:
            raise error if isinstance(error, ContentError) else ContentError(f"it cannot be read: {error}") from error
        if len(content) > LARGEST_BYTES:
            raise ContentError(f"it is larger than {LARGEST_BYTES // 1024 // 1024} MB")
        return content


def _split(uri: str) -> tuple[str, str]:
    """A reference's scheme, "" for a plain path, and its path."""
    try:
        parts = urlsplit(uri) if ":" in uri else None
    except ValueError as error:  # such as http://[host, whose bracket is never closed
        raise ContentError(f"it is no address: {error}") from error
    return (parts.scheme, unquote(parts.path)) if parts and parts.scheme else ("", uri)


def _inline(uri: str) -> bytes:
    head, comma, body = uri.partition(",")
    try:
        if not comma or not head.lower().endswith(";base64"):
            raise ValueError("it must read data:image/…;base64,…")
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContentError(f"a data reference could not be decoded: {error}") from error
