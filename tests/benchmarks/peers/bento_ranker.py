"""Winnow's model behind BentoML: `BUNDLE_FOLDER=… bentoml serve tests.benchmarks.peers.bento_ranker:Ranker`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml

from shared.model.bundle import open_bundle
from shared.model.execution import Execution
from shared.model.ranker import RankerModel
from tests.benchmarks.peers.questions import answer_of, request_of


@bentoml.service(workers=1)
class Ranker:
    """The model as an API of JSON over HTTP."""

    def __init__(self) -> None:
        self._model = RankerModel.load(open_bundle(Path(os.environ["BUNDLE_FOLDER"])), Execution(threads=1))

    @bentoml.api
    def rank(self, question: dict[str, Any]) -> dict[str, Any]:
        """Score the candidates of one question."""
        (result,) = self._model.score([request_of(question)])
        return answer_of(result)

    @bentoml.api(batchable=True)
    def rank_batched(self, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The same with BentoML's adaptive batching."""
        return [answer_of(each) for each in self._model.score([request_of(question) for question in questions])]
