"""Profiles: what a deployment must set before it may start."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.kernel.config import ConfigError, load
from shared.kernel.limits import LimitSettings
from shared.kernel.policy import Rate
from shared.kernel.security import SecuritySettings, security_of
from shared.kernel.variables import PREFIX
from tests.certificates import LOOPBACK, Authority, write_files


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without settings."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_of(folder: Path) -> dict[str, Path]:
    """Settings for files that can be used."""
    authority = Authority()
    files = write_files(folder / "tls", authority.issue(LOOPBACK), authority)
    policy = folder / "policy.yaml"
    policy.write_text("clients: {}", encoding="utf-8")
    return {
        "tls_certificate_file": files.certificate,
        "tls_key_file": files.key,
        "tls_authority_file": files.authority,
        "policy_file": policy,
    }


def test_a_developers_machine_needs_nothing() -> None:
    security = security_of(load(SecuritySettings))

    assert (security.tls, security.policy, security.reflection) == (None, None, True)


def test_production_has_tls_and_a_policy_and_shows_no_methods(folder: Path) -> None:
    security = security_of(load(SecuritySettings, profile="production", **files_of(folder)))

    assert security.tls
    assert security.policy
    assert not security.reflection


@pytest.mark.parametrize("missing", ["tls_certificate_file", "tls_key_file", "tls_authority_file", "policy_file"])
def test_production_does_not_start_without_one_of_them(folder: Path, missing: str) -> None:
    settings = load(SecuritySettings, profile="production", **(files_of(folder) | {missing: None}))

    with pytest.raises(ConfigError, match=f"{PREFIX}{missing.upper()} is not set"):
        security_of(settings)


def test_half_of_tls_is_a_mistake_in_every_profile(folder: Path) -> None:
    settings = load(SecuritySettings, **(files_of(folder) | {"tls_key_file": None}))

    with pytest.raises(ConfigError, match="WINNOW_TLS_KEY_FILE is not set; TLS needs all three"):
        security_of(settings)


def test_a_policy_without_certificates_would_let_nobody_in(folder: Path) -> None:
    settings = load(SecuritySettings, policy_file=files_of(folder)["policy_file"])

    with pytest.raises(ConfigError, match="set without TLS"):
        security_of(settings)


def test_without_a_limit_callers_may_call_as_often_as_they_like() -> None:
    rates = [
        load(LimitSettings, requests_per_second=each, burst_requests=burst).rate() for each, burst in ((0, 9), (5, 0))
    ]

    assert rates == [None, Rate(5, 10)]


def test_a_burst_that_would_lock_everybody_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="WINNOW_LIMIT_BURST_REQUESTS"):
        load(LimitSettings, requests_per_second=0.2, burst_requests=0.5)
