"""How long calls wait before a process takes them up, and what it says to new ones meanwhile."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from shared.kernel.admission import Admission, RequestLimits
from shared.kernel.backlog import Backlog, PrivateAddress
from shared.kernel.config import ConfigError
from shared.kernel.errors import ErrorReason, ServiceError


@dataclass
class Watch:
    """Seconds that pass when the test says so."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


async def test_calls_pass_while_none_waits_long() -> None:
    watch = Watch()
    backlog = Backlog(100, watch)

    async def quick() -> None:
        watch.seconds += 0.1

    await backlog.measure(quick)

    backlog.check()
    assert backlog.delay_ms == pytest.approx(100)


async def test_calls_are_refused_after_a_long_wait_and_let_in_after_a_short_one() -> None:
    watch = Watch()
    backlog = Backlog(100, watch)

    async def slow() -> None:
        watch.seconds += 0.25

    async def quick() -> None:
        watch.seconds += 0.01

    await backlog.measure(slow)
    with pytest.raises(ServiceError, match="250 ms") as raised:
        backlog.check()
    assert raised.value.reason is ErrorReason.OVERLOADED

    await backlog.measure(quick)
    backlog.check()
    assert backlog.delay_ms == pytest.approx(10)


async def test_a_measurement_that_still_waits_tells_as_well() -> None:
    watch = Watch()
    backlog = Backlog(100, watch)

    async def look() -> None:
        watch.seconds += 0.2
        with pytest.raises(ServiceError, match="200 ms"):
            backlog.check()

    await backlog.measure(look)

    assert backlog.delay_ms == pytest.approx(200)


async def test_an_answer_that_refuses_has_waited_too() -> None:
    watch = Watch()
    backlog = Backlog(100, watch)

    async def refused() -> None:
        watch.seconds += 0.3
        raise grpc.aio.AioRpcError(grpc.StatusCode.UNAUTHENTICATED, grpc.aio.Metadata(), grpc.aio.Metadata())

    await backlog.measure(refused)

    assert backlog.delay_ms == pytest.approx(300)


async def test_without_a_limit_nobody_is_refused() -> None:
    watch = Watch()
    backlog = Backlog(0, watch)

    async def slow() -> None:
        watch.seconds += 60

    await backlog.measure(slow)

    backlog.check()
    assert backlog.delay_ms == pytest.approx(60_000)


async def test_a_server_takes_no_call_while_its_queue_is_long() -> None:
    admission = Admission(RequestLimits(backlog_ms=100))
    backlog = admission.backlog

    async def look() -> None:
        with admission.single():
            pass

    await backlog.measure(look)
    backlog._measured_s = 1.0

    with pytest.raises(ServiceError, match="1000 ms"), admission.single():
        pass
    assert backlog.delay_ms == pytest.approx(1000)


def test_without_a_folder_for_its_socket_a_server_says_which_setting_gives_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    with pytest.raises(ConfigError, match=r"missing.*TMPDIR.*emptyDir on /tmp.*WINNOW_LIMIT_BACKLOG_MS to 0"):
        PrivateAddress()


def test_a_folder_whose_name_is_too_long_for_a_socket_is_named_and_left_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deep = tmp_path / ("a" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    with pytest.raises(ConfigError, match=r"longer than the 107 bytes.*TMPDIR"):
        PrivateAddress()
    assert list(deep.iterdir()) == []
