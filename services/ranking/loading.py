"""Loads a bundle's ranker for a replica, on the device and with the precision that suit the machine.

What is faster is measured and not guessed: bfloat16 halves the time on a GPU and on processors that multiply it, and
doubles it on those that only emulate it.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Final

import numpy as np
import structlog
import torch

from services.ranking.drift import WatchedScorer
from services.ranking.scoring import Scorer
from services.ranking.settings import RankingSettings
from shared.domain.events import EventType
from shared.domain.history import History
from shared.domain.ranking import Candidates, RankingRequest
from shared.model.bundle import Bundle
from shared.model.execution import Execution, Precision
from shared.model.ranker import RankerModel

CANDIDATES: Final = 300
WARM_UP, REPEATS = 2, 7
MIB: Final = 1024 * 1024
SHOWN_CHARACTERS: Final = 500
PRECISIONS: Final[tuple[Precision, ...]] = ("float32", "bfloat16")

_log = structlog.get_logger()


def load_ranker(settings: RankingSettings, bundle: Bundle, threads: int) -> Scorer:
    """The bundle's ranker, ready to score."""
    precision: Precision = "float32" if settings.precision == "auto" else settings.precision
    execution = Execution(device_of(settings), precision, threads, settings.history_cache_mib * MIB)
    model = RankerModel.load(bundle, execution)
    if settings.precision == "auto":
        model = faster(model)
    if settings.graphs == "auto" and model.execution.device != "cpu":
        model = graphed(model)
    return WatchedScorer(model)


def device_of(settings: RankingSettings) -> str:
    """The device as torch names it; `auto` is a GPU where the replica has one."""
    if settings.device != "auto":
        return settings.device
    return "cuda" if settings.replica_gpus and torch.cuda.is_available() else "cpu"


def faster(model: RankerModel) -> RankerModel:
    """The model with the precision that scores a full request faster here; the times are logged."""
    models = [model.with_precision(each) for each in PRECISIONS]
    request = full_request(model)
    times_ms = [_time_ms(each, request) for each in models]
    chosen = models[int(np.argmin(times_ms))]
    _log.info(
        "ranker.precision", chosen=chosen.execution.precision, device=model.execution.device,
        **{f"{each}_ms": round(spent, 2) for each, spent in zip(PRECISIONS, times_ms, strict=True)},
    )  # fmt: skip
    return chosen


def graphed(model: RankerModel) -> RankerModel:
    """The model with its steps compiled and recorded, where that works and scores a full request faster."""
    request = full_request(model)
    try:
        other = model.with_graphs()
        other.warm(request)
        before_ms, after_ms = (_time_ms(each, request) for each in (model, other))
    except Exception as error:  # noqa: BLE001 - compilers fail in many ways, and none shall keep a bundle from serving
        _log.warning("ranker.graphs", chosen=False, error=f"{type(error).__name__}: {error}"[:SHOWN_CHARACTERS])
        return model
    _log.info("ranker.graphs", chosen=after_ms < before_ms, without_ms=before_ms, with_ms=after_ms)
    return other if after_ms < before_ms else model


def full_request(model: RankerModel) -> RankingRequest:
    """A request with the longest history and as many candidates as are usual, of the bundle's own items."""
    ids, events = model.parts.vocabulary.ids, model.parts.network.settings.encoder.history_limit
    past = (ids * events)[:events]
    history = History(
        past,
        np.full(len(past), EventType.CLICK, np.int32),
        np.full(len(past), np.nan, np.float32),
        np.arange(len(past), dtype=np.int64) * 60_000,
    )
    floats, ranks = np.empty(0, np.float32), np.empty(0, np.int32)
    candidates = Candidates(ids[:CANDIDATES] or ("unknown",), floats, floats, floats, floats, ranks, floats, ranks)
    return RankingRequest(history, candidates, time_ms=len(past) * 60_000)


def _time_ms(model: RankerModel, request: RankingRequest) -> float:
    times = []
    for turn in range(WARM_UP + REPEATS):
        begin = time.perf_counter()
        model.score([request])
        if turn >= WARM_UP:
            times.append((time.perf_counter() - begin) * 1e3)
    return median(times)
