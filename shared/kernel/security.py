"""What a deployment says about security, and what follows from it: certificates, policy, what is shown to strangers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from shared.kernel.config import ConfigError, ServiceSettings
from shared.kernel.policy import Policy, load_policy
from shared.kernel.tls import Tls, TlsFiles


class SecuritySettings(ServiceSettings):
    """Who may call, and how callers and services prove who they are."""

    profile: Literal["local", "production"] = Field(
        "local",
        description="local: plain text and open to all, unless TLS and a policy are set; production: both are "
        "demanded, and reflection is off",
    )
    tls_certificate_file: Path | None = Field(
        None, description="PEM certificate chain of this process; read again when it changes"
    )
    tls_key_file: Path | None = Field(None, description="PEM private key of that certificate")
    tls_authority_file: Path | None = Field(None, description="PEM certificates that those of peers must come from")
    policy_file: Path | None = Field(
        None, description="YAML file of who may call which method; empty in the local profile: everybody may"
    )


@dataclass(frozen=True, slots=True)
class Security:
    """How a process proves who it is, whom it lets in and what it shows.

    Attributes:
        tls: None: plain text.
        policy: None: everybody may call everything.
        reflection: Whether tools may ask which methods there are.
    """

    tls: Tls | None = None
    policy: Policy | None = None
    reflection: bool = True


def security_of(settings: SecuritySettings) -> Security:
    """Reads the files that the settings name.

    Raises:
        ConfigError: A file cannot be used, or one is missing that the profile or another setting demands.
    """
    files = {
        "WINNOW_TLS_CERTIFICATE_FILE": settings.tls_certificate_file,
        "WINNOW_TLS_KEY_FILE": settings.tls_key_file,
        "WINNOW_TLS_AUTHORITY_FILE": settings.tls_authority_file,
    }
    production = settings.profile == "production"
    missing = [name for name, path in files.items() if path is None]
    if missing and (production or len(missing) < len(files)):
        why = "WINNOW_PROFILE is production" if production else "TLS needs all three files"
        raise ConfigError(*(f"{name} is not set; {why}" for name in missing))
    if production and settings.policy_file is None:
        raise ConfigError("WINNOW_POLICY_FILE is not set; WINNOW_PROFILE is production, where nothing is open to all")
    if settings.policy_file and missing:
        raise ConfigError("WINNOW_POLICY_FILE is set without TLS, but it is certificates that tell callers apart")
    return Security(
        tls=_tls(settings),
        policy=load_policy(settings.policy_file) if settings.policy_file else None,
        reflection=not production,
    )


def _tls(settings: SecuritySettings) -> Tls | None:
    certificate, key, authority = (
        settings.tls_certificate_file,
        settings.tls_key_file,
        settings.tls_authority_file,
    )
    return Tls(TlsFiles(certificate, key, authority)) if certificate and key and authority else None
