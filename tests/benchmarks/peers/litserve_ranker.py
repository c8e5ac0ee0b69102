"""Winnow's model behind LitServe: `python -m tests.benchmarks.peers.litserve_ranker BUNDLE_FOLDER PORT MAX_BATCH`."""

from __future__ import annotations

import sys
from pathlib import Path

import litserve

from shared.domain.ranking import RankingRequest, RankingResult
from shared.model.bundle import open_bundle
from shared.model.execution import Execution
from shared.model.ranker import RankerModel
from tests.benchmarks.peers.questions import answer_of, request_of

BATCH_WAIT_SECONDS = 0.002


class Ranker(litserve.LitAPI):
    """One question at a time."""

    bundle_folder = Path(sys.argv[1])

    def setup(self, device: str) -> None:
        """Load the model."""
        self._model = RankerModel.load(open_bundle(self.bundle_folder), Execution(threads=1))

    def decode_request(self, request):  # LitServe would take types for those of HTTP
        """From JSON."""
        return request_of(request)

    def predict(self, x: RankingRequest) -> RankingResult:
        """Score the candidates."""
        (result,) = self._model.score([x])
        return result

    def encode_response(self, output):
        """To JSON."""
        return answer_of(output)


class BatchedRanker(Ranker):
    """The questions that wait together."""

    def batch(self, inputs: list[RankingRequest]) -> list[RankingRequest]:
        """As they are."""
        return inputs

    def predict(self, x: list[RankingRequest]) -> list[RankingResult]:
        """Score the candidates."""
        return self._model.score(x)

    def unbatch(self, output: list[RankingResult]) -> list[RankingResult]:
        """As they are."""
        return output


def main() -> None:
    """Serve until killed."""
    port, most = (int(argument) for argument in sys.argv[2:])
    api = Ranker() if most == 1 else BatchedRanker(max_batch_size=most, batch_timeout=BATCH_WAIT_SECONDS)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")


if __name__ == "__main__":
    main()
