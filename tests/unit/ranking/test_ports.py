"""The ports of replicas: found, refused by name, and kept until the replicas listen on them."""

from __future__ import annotations

import socket

import grpc
import pytest

from services.ranking.ports import check_metrics_ports, reserved_ports
from services.ranking.settings import RankingSettings
from shared.kernel.config import ConfigError, load


def settings(address: str, replicas: int = 1) -> RankingSettings:
    return load(RankingSettings, address=address, replicas=replicas)


def taken(port: int) -> bool:
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def test_replicas_take_the_address_and_the_ports_behind_it() -> None:
    with reserved_ports(settings("127.0.0.1:0")) as (first,):
        pass

    with reserved_ports(settings(f"127.0.0.1:{first}")) as ports:
        assert ports == (first,)


def test_free_ports_stand_in_a_row() -> None:
    with reserved_ports(settings("127.0.0.1:0", replicas=3)) as ports:
        assert [port - ports[0] for port in ports] == [0, 1, 2]


def test_nobody_else_gets_a_port_before_the_replica_that_it_was_chosen_for() -> None:
    with reserved_ports(settings("127.0.0.1:0", replicas=2)) as ports:
        assert all(taken(port) for port in ports)
    assert not any(taken(port) for port in ports)


async def test_a_replica_listens_on_its_reserved_port_and_is_reached() -> None:
    with reserved_ports(settings("127.0.0.1:0")) as (port,):
        replica = grpc.aio.server()
        assert replica.add_insecure_port(f"127.0.0.1:{port}") == port
        await replica.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.channel_ready()
            assert channel.get_state() is grpc.ChannelConnectivity.READY
        await replica.stop(None)


def test_a_taken_port_is_refused_by_name() -> None:
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]

        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"), reserved_ports(settings(f"127.0.0.1:{port}")):
            pass


def test_a_port_that_its_listener_would_share_is_refused_all_the_same() -> None:
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        port = foreign.getsockname()[1]

        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}"), reserved_ports(settings(f"127.0.0.1:{port}")):
            pass


def test_a_taken_port_for_metrics_is_refused_by_name() -> None:
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        metrics = load(RankingSettings, metrics_port=foreign.getsockname()[1])

        with pytest.raises(ConfigError, match="WINNOW_RANKING_METRICS_PORT"):
            check_metrics_ports(metrics, "127.0.0.1")


def test_without_metrics_no_port_is_looked_at() -> None:
    check_metrics_ports(load(RankingSettings, metrics_port=0), "no such host")
    assert load(RankingSettings, metrics_port=0).metrics_port == 0
