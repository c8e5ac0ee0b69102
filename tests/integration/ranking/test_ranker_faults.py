"""What is killed comes back, what is stopped leaves nothing behind, and nobody is in another's way."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from tests.integration.ranking.ranker import SERVING, Ranker, rank_request, wait_until
from tests.integration.ranking.toy import ITEM_IDS

KILLS = 20 if os.environ.get("WINNOW_SOAK") else 3


def answers(ranker: Ranker) -> bool:
    try:
        return len(ranker.rank(rank_request(ITEM_IDS[0])).probabilities) == 1
    except grpc.RpcError:
        return False


def wait_for_the_end_of(processes: set[int], ranker: Ranker) -> None:
    wait_until(lambda: not processes & set(ranker.processes()), "the end of the processes from before")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_a_killed_replica_comes_back_at_the_same_address(ray_ranker: Ranker) -> None:
    replica = ray_ranker.process_id("ServeReplica")

    kill(replica)
    wait_until(lambda: not answers(ray_ranker), "the loss")
    wait_until(lambda: answers(ray_ranker), "the return")

    assert ray_ranker.process_id("ServeReplica") != replica


def test_a_killed_controller_is_not_noticed_by_callers(ray_ranker: Ranker) -> None:
    controller = ray_ranker.process_id("ServeController")
    replica = ray_ranker.process_id("ServeReplica")

    kill(controller)
    outcomes = [answers(ray_ranker) for _ in range(50)]
    wait_until(lambda: ray_ranker.process_ids("ServeController") not in ([], [controller]), "a new controller")

    assert all(outcomes)
    assert ray_ranker.process_id("ServeReplica") == replica


@pytest.mark.parametrize("name", ["raylet/raylet", "gcs_server", "ray_process"])
def test_when_ray_itself_breaks_it_is_started_again(ray_ranker: Ranker, name: str) -> None:
    before = set(ray_ranker.processes())

    kill(ray_ranker.process_id(name))
    wait_for_the_end_of(before, ray_ranker)
    wait_until(lambda: answers(ray_ranker), "the return")

    assert ray_ranker.running


def test_ray_that_breaks_while_the_ranker_is_deployed_is_started_again(ray_ranker: Ranker) -> None:
    before = set(ray_ranker.processes())
    ray_ranker.signal(signal.SIGTERM)
    ray_ranker.start()
    wait_until(lambda: ray_ranker.process_ids("ServeController") != [], "the beginning of the deployment")

    kill(ray_ranker.process_id("raylet/raylet"))
    ray_ranker.wait_for(SERVING)

    assert not before & set(ray_ranker.processes())
    assert answers(ray_ranker)


def test_the_ranker_can_be_killed_and_started_again_and_again(ray_ranker: Ranker) -> None:
    for _ in range(KILLS):
        before = set(ray_ranker.processes())
        ray_ranker.signal(signal.SIGKILL)
        ray_ranker.start()
        wait_for_the_end_of(before, ray_ranker)
        ray_ranker.wait_for(SERVING)

        assert answers(ray_ranker)


def test_a_start_clears_what_is_left_when_everything_that_would_clear_was_killed(ray_ranker: Ranker) -> None:
    supervisor = ray_ranker.process_id("ray_process")
    os.kill(supervisor, signal.SIGSTOP)
    ray_ranker.signal(signal.SIGKILL)
    kill(supervisor)
    left = set(ray_ranker.processes())

    ray_ranker.start()
    wait_for_the_end_of(left, ray_ranker)
    ray_ranker.wait_for(SERVING)

    assert left


def test_a_killed_ranker_takes_ray_with_it_even_if_it_never_starts_again(ray_ranker: Ranker) -> None:
    left = ray_ranker.processes()
    ray_ranker.signal(signal.SIGKILL)

    wait_until(lambda: ray_ranker.processes() == [], "the end of Ray")

    assert len(left) > 1, "there was no Ray that could have stayed"


def test_a_stopped_ranker_leaves_no_process_and_no_file_of_ray(ray_ranker: Ranker) -> None:
    code = ray_ranker.signal(signal.SIGTERM)

    assert code == 0
    assert ray_ranker.processes() == []
    assert not ray_ranker.folder.ray_dir.exists()
    assert not (ray_ranker.folder.path / "ray.json").exists()
    assert ray_ranker.health() is None


def test_a_ranker_can_be_stopped_while_it_starts(one_ranker: Ranker) -> None:
    before = one_ranker.process_ids("gcs_server")
    if one_ranker.running:
        one_ranker.signal(signal.SIGKILL)
    one_ranker.start()
    wait_until(lambda: one_ranker.process_ids("gcs_server") not in ([], before), "the first process of Ray")

    code = one_ranker.signal(signal.SIGINT)

    assert code == 0
    assert one_ranker.processes() == []


def test_a_second_ranker_of_the_same_data_folder_is_refused(ray_ranker: Ranker) -> None:
    refused = start_beside(ray_ranker, data_dir=ray_ranker.data_dir)

    assert refused.returncode == 2
    assert "another process runs the ranker of this folder" in refused.stderr
    assert answers(ray_ranker)


def test_a_taken_port_is_named(ray_ranker: Ranker, tmp_path: Path) -> None:
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        address = f"127.0.0.1:{foreign.getsockname()[1]}"
        refused = start_beside(ray_ranker, data_dir=tmp_path, address=address)

    assert refused.returncode == 2
    assert f"the ranker cannot listen on {address}" in refused.stderr
    assert "WINNOW_RANKING_ADDRESS" in refused.stderr


def start_beside(ranker: Ranker, *, data_dir: Path, address: str = "127.0.0.1:0") -> subprocess.CompletedProcess[str]:
    """Start another ranker, which must end by itself."""
    environ = os.environ | {
        "WINNOW_DATA_DIR": str(data_dir),
        "WINNOW_RANKING_ADDRESS": address,
        "WINNOW_RANKING_METRICS_PORT": "0",
    }
    command = [sys.executable, "-m", ranker.module]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)
