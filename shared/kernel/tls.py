"""Mutual TLS from files that are read again when they change: a certificate is renewed without a restart.

gRPC asks a server for its certificate at each handshake, in threads of its own. A channel keeps what it was opened
with (https://github.com/grpc/grpc/issues/41779), so `lines.py` opens channels anew.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from shared.kernel.config import ConfigError
from shared.kernel.telemetry import CERTIFICATE_EXPIRES

LOOK_SECONDS: Final = 1.0
"""How often calls make us look whether the files have changed."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a process finds who it is and whom it trusts, all PEM.

    Attributes:
        certificate: Its own certificate, followed by those between it and the authority.
        key: The private key of that certificate.
        authority: The certificates that those of peers must come from.
    """

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the files held at one moment; the key is that of the certificate."""

    certificate: bytes
    key: bytes = field(repr=False)
    authority: bytes
    expires: datetime

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """For a client that shows its certificate."""
        return grpc.ssl_channel_credentials(self.authority, self.key, self.certificate)

    def server_configuration(self) -> grpc.ServerCertificateConfiguration:
        """For a server; whom it trusts goes along."""
        return grpc.ssl_server_certificate_configuration([(self.key, self.certificate)], self.authority)


class Tls:
    """The material as it is now. A change that cannot be used is logged, and the old material goes on.

    Safe to use from several threads.

    Args:
        files: Where it stands.
        look_seconds: How long a look at the files is good for.
        clock: Seconds that never go back.

    Raises:
        ConfigError: The files cannot be used.
    """

    def __init__(
        self, files: TlsFiles, look_seconds: float = LOOK_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._files = files
        self._look_seconds = look_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._seen = _fingerprint(files)
        self._refused = ""
        self._looked = clock()
        self._material = _read(files)
        CERTIFICATE_EXPIRES.set(self._material.expires.timestamp())

    def current(self) -> TlsMaterial:
        """The material; the same object as long as nothing has changed."""
        with self._lock:
            now = self._clock()
            if now - self._looked >= self._look_seconds:
                self._looked = now
                self._look()
            return self._material

    def server_credentials(self) -> grpc.ServerCredentials:
        """Credentials of a server that takes only callers with a certificate of the authority."""
        given = self.current()

        def fetch() -> grpc.ServerCertificateConfiguration | None:
            nonlocal given
            found = self.current()
            if found is given:
                return None  # gRPC's word for "no change"
            given = found
            return found.server_configuration()

        return grpc.dynamic_ssl_server_credentials(
            given.server_configuration(),
            fetch,  # type: ignore[arg-type]  # the stubs do not know that None is allowed
            require_client_authentication=True,
        )

    def _look(self) -> None:
        seen = _fingerprint(self._files)
        if seen == self._seen:
            return
        try:
            self._material = _read(self._files)
        except ConfigError as error:  # looked at again next time: a change of rights changes no fingerprint
            if str(error) != self._refused:
                log.error("tls.reload_refused", error=str(error))
            self._refused = str(error)
            return
        self._seen, self._refused = seen, ""
        CERTIFICATE_EXPIRES.set(self._material.expires.timestamp())
        log.info("tls.reloaded", expires=self._material.expires.isoformat())


def _fingerprint(files: TlsFiles) -> tuple[tuple[int, int, int] | None, ...]:
    """Changes with the files, and with what a link points to: Kubernetes swaps a link."""
    return tuple(_stat(path) for path in (files.certificate, files.key, files.authority))


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _read(files: TlsFiles) -> TlsMaterial:
    certificate, key, authority = (_bytes(path) for path in (files.certificate, files.key, files.authority))
    try:
        own = x509.load_pem_x509_certificates(certificate)[0]
    except ValueError as error:
        raise ConfigError(f"{files.certificate} holds no PEM certificate; write the certificate chain there") from error
    try:
        x509.load_pem_x509_certificates(authority)
    except ValueError as error:
        raise ConfigError(f"{files.authority} holds no PEM certificate; write those that you trust there") from error
    if _public_part(files.key, key) != own.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo):
        raise ConfigError(f"{files.key} is not the key of {files.certificate}; write the two that belong together")
    if own.not_valid_after_utc <= datetime.now(UTC):
        raise ConfigError(f"{files.certificate} expired on {own.not_valid_after_utc.isoformat()}; renew it")
    return TlsMaterial(certificate, key, authority, own.not_valid_after_utc)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}); TLS needs it") from error


def _public_part(path: Path, key: bytes) -> bytes:
    try:
        return (
            load_pem_private_key(key, None).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )
    except (ValueError, TypeError) as error:  # its text may quote the key
        raise ConfigError(f"{path} holds no PEM private key without a password") from error
