"""What a cluster does to the product while callers go on asking: pods replaced, a node lost, another bundle served."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from shared.model.registry import Registry
from tests.e2e.parts import Load
from tests.e2e.product import START_SECONDS, Product, wait_until
from tests.e2e.replicas import DEADLINE_S, NAMES, PODS, Replicas, another_bundle

REPLICATED = [name for name in NAMES if PODS[name] > 1]


@pytest.fixture(scope="module")
def replicas(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    """Two pods of each service that can have two."""
    folder = tmp_path_factory.mktemp("cluster")
    registry = folder / "registry"
    shutil.copytree(product.data_dir / "registry", registry)
    cluster = Replicas(folder, registry)
    with cluster.running():
        yield cluster


@pytest.mark.parametrize("name", REPLICATED)
def test_a_rolling_update_loses_no_request(replicas: Replicas, name: str) -> None:
    with Load.on(replicas.connect, deadline_s=DEADLINE_S) as load:
        replicas.roll(name)
        answered = load.answers
        wait_until(lambda: load.answers > answered + 20, START_SECONDS, lambda: str(load.failures))

    assert load.failures == []


def test_an_update_of_the_log_loses_no_request_and_no_event(replicas: Replicas) -> None:
    with Load.on(replicas.connect, deadline_s=DEADLINE_S) as load:
        replicas.record("before", "42", "50")
        replicas.roll("feedback")
        replicas.record("after", "42", "50")
        replicas.record("before", "42", "50")
        wait_until(lambda: replicas.event_ids("42")[-1:] == ["after"], START_SECONDS)

    assert load.failures == []
    assert replicas.event_ids("42")[-2:] == ["before", "after"]


@pytest.mark.parametrize("name", REPLICATED)
def test_a_lost_node_loses_no_request(replicas: Replicas, name: str) -> None:
    with Load.on(replicas.connect, deadline_s=DEADLINE_S) as load:
        replicas.lose(name)
        answered = load.answers
        wait_until(lambda: load.answers > answered + 20, START_SECONDS, lambda: str(load.failures))

    assert load.failures == []


def test_another_bundle_loses_no_request(replicas: Replicas) -> None:
    registry = Registry(str(replicas.registry))
    with Load.on(replicas.connect, deadline_s=DEADLINE_S) as load:
        version = registry.publish(another_bundle(replicas.registry))
        wait_until(lambda: replicas.versions() == {version, f"{version}/annoy"}, START_SECONDS)

    assert load.failures == []
