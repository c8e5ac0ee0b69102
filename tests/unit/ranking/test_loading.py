"""A replica's ranker: on which device, how precisely, and chosen by measuring."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from services.ranking.loading import CANDIDATES, PRECISIONS, device_of, faster, full_request, graphed
from services.ranking.settings import RankingSettings
from shared.domain.ranking import RankingRequest
from shared.model.ranker import RankerModel
from tests.unit.model import networks


def settings(**chosen: object) -> RankingSettings:
    return RankingSettings(_env_file=None, **chosen)  # type: ignore[arg-type]


def test_the_faster_precision_is_taken_and_both_times_are_told() -> None:
    with capture_logs() as lines:
        chosen = faster(networks.ranker())

    (line,) = (line for line in lines if line["event"] == "ranker.precision")
    times_ms = {precision: line[f"{precision}_ms"] for precision in PRECISIONS}
    assert times_ms[chosen.execution.precision] == min(times_ms.values())
    assert line["chosen"] == chosen.execution.precision


def test_what_is_measured_is_a_full_request_of_the_bundles_own_items() -> None:
    model = networks.ranker()
    request = full_request(model)

    assert len(request.history) == networks.SETTINGS.history_limit
    assert set(request.history.item_ids) <= set(networks.ITEMS)
    assert request.candidates.item_ids == networks.ITEMS[:CANDIDATES]


class CannotCompile(RankerModel):
    """A model on a machine without what a compiler needs."""

    def warm(self, request: RankingRequest) -> None:
        raise RuntimeError("no compiler was found")


def test_a_compiler_that_fails_keeps_no_bundle_from_serving() -> None:
    plain = networks.ranker()
    model = CannotCompile(plain.parts, plain.identity)

    with capture_logs() as lines:
        chosen = graphed(model)

    assert chosen is model
    (line,) = lines
    assert (line["event"], line["chosen"]) == ("ranker.graphs", False)
    assert "no compiler was found" in line["error"]


def test_without_a_gpu_of_its_own_a_replica_runs_on_the_processor() -> None:
    assert device_of(settings()) == "cpu"
    assert device_of(settings(device="cuda:1")) == "cuda:1"
    with pytest.raises(ValidationError, match="device"):
        settings(device="tpu")
