"""The ranker's question and answer as JSON, for servers that speak it: columns as lists, as in Winnow's contract."""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.domain.history import History
from shared.domain.ranking import Candidates, RankingRequest, RankingResult

COLUMNS = (
    ("ages_days", np.float32),
    ("popularity", np.float32),
    ("trend", np.float32),
    ("retrieval_scores", np.float32),
    ("retrieval_ranks", np.int32),
    ("neighbour_scores", np.float32),
    ("neighbour_ranks", np.int32),
)

Json = dict[str, Any]


def question_of(request: RankingRequest) -> Json:
    """A request as JSON; the values of its events, all absent, are left out."""
    history, candidates = request.history, request.candidates
    return {
        "time_ms": request.time_ms,
        "history": {
            "item_ids": history.item_ids,
            "event_types": history.event_types.tolist(),
            "times_ms": history.times_ms.tolist(),
        },
        "candidates": {
            "item_ids": candidates.item_ids,
            **{name: getattr(candidates, name).tolist() for name, _ in COLUMNS},
        },
    }


def request_of(question: Json) -> RankingRequest:
    """The request again."""
    past, asked = question["history"], question["candidates"]
    history = History(
        tuple(past["item_ids"]),
        np.array(past["event_types"], np.int32),
        np.full(len(past["item_ids"]), np.nan, np.float32),
        np.array(past["times_ms"], np.int64),
    )
    columns = {name: np.array(asked[name], kind) for name, kind in COLUMNS}
    return RankingRequest(history, Candidates(tuple(asked["item_ids"]), **columns), question["time_ms"])


def answer_of(result: RankingResult) -> Json:
    """A result as JSON."""
    return {
        "model_version": result.model_version,
        "actions": result.actions,
        "probabilities": result.probabilities.tolist(),
        "ratings": result.ratings.tolist(),
    }
