"""Certificates for tests: authorities made on the spot, and the files that services read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import grpc
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from shared.kernel.tls import TlsFiles

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate chain with its key, PEM."""

    chain: bytes
    key: bytes


class Authority:
    """Issues certificates that only those trust who trust this one."""

    def __init__(self) -> None:
        self._authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.pem = self._authority.cert_pem.bytes()

    def issue(self, *names: str, not_after: datetime | None = None) -> Issued:
        """For DNS names and addresses."""
        before = not_after - timedelta(days=1) if not_after else None
        leaf = self._authority.issue_cert(
            *names, not_after=not_after, not_before=before, key_type=trustme.KeyType.ECDSA
        )
        return Issued(b"".join(each.bytes() for each in leaf.cert_chain_pems), leaf.private_key_pem.bytes())

    def issue_expired(self, *names: str) -> Issued:
        """One that ended yesterday."""
        return self.issue(*names, not_after=datetime.now(UTC) - timedelta(days=1))

    def issue_spiffe(self, identity: str, address: str = "") -> Issued:
        """One that holds a URI, as SPIFFE's do, and an IP address when given; trustme makes no URIs."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity)]
        if address:
            names.append(x509.IPAddress(ip_address(address)))
        key = ec.generate_private_key(ec.SECP256R1())
        own = x509.load_pem_x509_certificate(self.pem)
        signer = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        now = datetime.now(UTC)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(own.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(signer, hashes.SHA256())
        )
        return Issued(leaf.public_bytes(serialization.Encoding.PEM), _pem_of(key))

    def credentials(self, issued: Issued) -> grpc.ChannelCredentials:
        """For a plain gRPC channel that trusts this authority and shows `issued`."""
        return grpc.ssl_channel_credentials(self.pem, issued.key, issued.chain)


def write_files(folder: Path, issued: Issued, authority: Authority) -> TlsFiles:
    """Write what a service reads, as cert-manager names it."""
    folder.mkdir(exist_ok=True)
    files = TlsFiles(folder / "tls.crt", folder / "tls.key", folder / "ca.crt")
    for path, content in ((files.certificate, issued.chain), (files.key, issued.key), (files.authority, authority.pem)):
        path.write_bytes(content)
    return files


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
