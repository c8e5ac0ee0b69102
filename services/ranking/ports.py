"""The ports of the replicas: chosen, found free, and kept from everybody else until the replicas listen on them.

A replica starts seconds after its port was chosen, and again whenever Ray replaces it. In between, the kernel would
give the port to any connection that goes out. So the supervision binds each port, without listening, for as long as it
lives; the replicas, whose gRPC servers share ports with processes of the same user, listen beside it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

from services.ranking.settings import RankingSettings
from shared.kernel.config import ConfigError

PORT_ATTEMPTS: Final = 50
HIGHEST_PORT: Final = 65535


@contextmanager
def reserved_ports(settings: RankingSettings) -> Iterator[tuple[int, ...]]:
    """The ports of the replicas, one each and in a row; no other process gets them while this lasts.

    Raises:
        ConfigError: one is taken.
    """
    with ExitStack() as held:
        yield _reserve_free(settings, held) if not settings.port else _reserve(settings, settings.port, held)


def check_metrics_ports(settings: RankingSettings, host: str) -> None:
    """Replicas would fail one after the other to serve their metrics on a taken port.

    Raises:
        ConfigError: one is taken.
    """
    if settings.metrics_port:
        ports = range(settings.metrics_port, settings.metrics_port + settings.replicas)
        with ExitStack() as probes:
            _bind(host, ports, probes, "WINNOW_RANKING_METRICS_PORT")


def _reserve_free(settings: RankingSettings, held: ExitStack) -> tuple[int, ...]:
    for _ in range(PORT_ATTEMPTS):
        first = _free_port(settings.host)
        if first + settings.replicas - 1 > HIGHEST_PORT:
            continue
        try:
            return _reserve(settings, first, held)
        except ConfigError:
            continue
    raise ConfigError(f"{settings.host} has no {settings.replicas} free ports in a row; set WINNOW_RANKING_ADDRESS")


def _reserve(settings: RankingSettings, first: int, held: ExitStack) -> tuple[int, ...]:
    """Sockets that share their port would not notice one that listens already, so a plain one looks first."""
    ports = range(first, first + settings.replicas)
    with ExitStack() as probes:
        _bind(settings.host, ports, probes, "WINNOW_RANKING_ADDRESS")
    with ExitStack() as reservations:
        _bind(settings.host, ports, reservations, "WINNOW_RANKING_ADDRESS", shared=True)
        held.push(reservations.pop_all())
    return tuple(ports)


def _bind(host: str, ports: Sequence[int], held: ExitStack, variable: str, *, shared: bool = False) -> None:
    for port in ports:
        try:
            held.enter_context(_bound(host, port, shared=shared))
        except OSError as error:
            raise ConfigError(
                f"the ranker cannot listen on {host}:{port}: {error.strerror}; "
                f"end the process that does, or set {variable}"
            ) from error


def _free_port(host: str) -> int:
    with _bound(host, 0, shared=False) as taken:
        return int(taken.getsockname()[1])


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket that has the port: for itself, as who listens, or `shared` with servers of the same user."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
        bound.bind((host.strip("[]"), port))
        if not shared:
            bound.listen(1)
    except OSError:
        bound.close()
        raise
    return bound
