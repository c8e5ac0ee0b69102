"""Certificates from files: what is refused at the start, and what a change does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.kernel.config import ConfigError
from shared.kernel.telemetry import CERTIFICATE_EXPIRES
from shared.kernel.tls import Tls, TlsFiles
from tests.certificates import LOOPBACK, Authority, write_files
from tests.integration.kernel_servers import captured_logs

AUTHORITY = Authority()


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    """Files that can be used."""
    return write_files(tmp_path / "tls", AUTHORITY.issue(LOOPBACK), AUTHORITY)


def test_what_has_not_changed_stays_the_same_object(files: TlsFiles) -> None:
    tls = Tls(files, look_seconds=0)

    assert tls.current() is tls.current()


def test_a_renewed_certificate_is_taken_into_use(files: TlsFiles) -> None:
    tls = Tls(files, look_seconds=0)
    renewed = AUTHORITY.issue("renewed.example")

    write_files(files.key.parent, renewed, AUTHORITY)

    assert (tls.current().certificate, tls.current().key) == (renewed.chain, renewed.key)
    assert CERTIFICATE_EXPIRES._value.get() == tls.current().expires.timestamp()


def test_a_swapped_link_is_a_change_because_kubernetes_renews_so(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write_files(old, AUTHORITY.issue("old.example"), AUTHORITY)
    renewed = AUTHORITY.issue("new.example")
    write_files(new, renewed, AUTHORITY)
    link = tmp_path / "data"
    link.symlink_to(old)
    tls = Tls(TlsFiles(link / "tls.crt", link / "tls.key", link / "ca.crt"), look_seconds=0)

    (tmp_path / "next").symlink_to(new)
    os.replace(tmp_path / "next", link)  # noqa: PTH105 - the very call of Kubernetes' writer

    assert tls.current().certificate == renewed.chain


def test_files_are_looked_at_only_now_and_then(files: TlsFiles) -> None:
    now = [0.0]
    tls = Tls(files, look_seconds=1, clock=lambda: now[0])
    first = tls.current()
    write_files(files.key.parent, AUTHORITY.issue("renewed.example"), AUTHORITY)

    now[0] = 0.9
    assert tls.current() is first
    now[0] = 1.0
    assert tls.current() is not first


@pytest.mark.parametrize("broken", ["half", "foreign key", "gone", "expired"])
def test_a_change_that_cannot_be_used_is_logged_once_and_the_old_certificate_goes_on(
    files: TlsFiles, broken: str
) -> None:
    tls = Tls(files, look_seconds=0)
    first = tls.current()
    match broken:
        case "half":
            files.certificate.write_bytes(first.certificate[:200])
        case "foreign key":
            files.key.write_bytes(AUTHORITY.issue("other.example").key)
        case "gone":
            files.authority.unlink()
        case _:
            write_files(files.key.parent, AUTHORITY.issue_expired(LOOPBACK), AUTHORITY)

    with captured_logs() as logs:
        used = [tls.current() for _ in range(3)]

    assert used == [first] * 3
    assert [line["event"] for line in logs] == ["tls.reload_refused"]


def test_what_was_refused_is_looked_at_again_even_if_nothing_of_the_files_seems_to_change(files: TlsFiles) -> None:
    tls = Tls(files, look_seconds=0)
    renewed = write_files(files.key.parent / "renewed", AUTHORITY.issue(LOOPBACK), AUTHORITY)
    good = renewed.certificate.read_bytes()
    files.key.write_bytes(renewed.key.read_bytes())
    for content in (b"-" * len(good), good):
        files.certificate.write_bytes(content)
        os.utime(files.certificate, ns=(0, 0))
        found = tls.current()

    assert found.certificate == good


def test_a_key_that_cannot_be_read_is_never_quoted(files: TlsFiles) -> None:
    files.key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")

    with pytest.raises(ConfigError) as raised:
        Tls(files)

    assert str(files.key) in str(raised.value)
    assert "c2VjcmV0" not in str(raised.value)


def test_what_is_kept_in_memory_does_not_show_its_key(files: TlsFiles) -> None:
    material = Tls(files).current()

    assert "PRIVATE" not in repr(material)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("tls.crt", b"", "holds no PEM certificate"),
        ("ca.crt", b"nothing", "holds no PEM certificate"),
        ("tls.key", b"nothing", "holds no PEM private key"),
        ("tls.key", AUTHORITY.issue("other.example").key, "is not the key of"),
        ("tls.crt", None, "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start(files: TlsFiles, name: str, content: bytes | None, told: str) -> None:
    path = files.key.parent / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)

    with pytest.raises(ConfigError) as raised:
        Tls(files)

    assert str(path) in str(raised.value)
    assert told in str(raised.value)


def test_an_expired_certificate_stops_the_start(tmp_path: Path) -> None:
    files = write_files(tmp_path / "tls", AUTHORITY.issue_expired(LOOPBACK), AUTHORITY)

    with pytest.raises(ConfigError, match="expired on"):
        Tls(files)
