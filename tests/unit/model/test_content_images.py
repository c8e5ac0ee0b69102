"""Image references come from clients: what may be read, and what may not."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from shared.domain.items import Item
from shared.model.content import ContentError
from shared.model.content_images import ImageReader


def item(uri: str) -> Item:
    return Item("lamp", image_uri=uri)


def test_an_image_is_read_from_the_folder_that_the_operator_opened(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "a lamp.png").write_bytes(b"pixels")
    reader = ImageReader(tmp_path)

    assert reader.read(item("shop/a lamp.png")) == b"pixels"
    assert reader.read(item(f"file://{tmp_path}/shop/a%20lamp.png")) == b"pixels"


def test_an_image_may_stand_in_the_reference_itself() -> None:
    uri = "data:image/png;base64," + base64.b64encode(b"pixels").decode()

    assert ImageReader(None).read(item(uri)) == b"pixels"


def test_an_item_without_an_image_has_no_content() -> None:
    assert ImageReader(None).read(item("")) == b""


@pytest.mark.parametrize(
    "uri",
    ["http://169.254.169.254/latest", "https://shop.example/a.png", "ftp://host/a", "gopher://host/a", "HTTP://h/a"],
)
def test_nothing_is_fetched_from_a_network(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="are not fetched"):
        ImageReader(tmp_path).read(item(uri))


@pytest.mark.parametrize("uri", ["../secret", "/etc/hostname", "file:///etc/hostname", "shop/../../secret", "link"])
def test_no_path_leads_out_of_the_folder(uri: str, tmp_path: Path) -> None:
    (tmp_path / "images" / "shop").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "images" / "link").symlink_to(tmp_path / "secret")

    with pytest.raises(ContentError, match="outside WINNOW_CONTENT_IMAGE_DIR"):
        ImageReader(tmp_path / "images").read(item(uri))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("none.png", "cannot be read"),
        ("a\0b", "cannot be read"),
        ("shop", "no file"),
        ("data:image/png,abc", "base64"),
        ("http://[shop", "no address"),
        ("http://\u2100", "no address"),
        ("file://[shop/a.png", "no address"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_reason(uri: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()

    with pytest.raises(ContentError, match=message):
        ImageReader(tmp_path).read(item(uri))


def test_without_a_folder_no_file_is_read() -> None:
    with pytest.raises(ContentError, match="set WINNOW_CONTENT_IMAGE_DIR"):
        ImageReader(None).read(item("lamp.png"))
