"""The services behind the front, each behind a circuit breaker and a time limit: they answer or are lost at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.recommendation.guarded import Guarded
from shared.domain.services import CandidateGeneration, Features, Feedback, Ranking
from shared.kernel.background import Supervised
from shared.kernel.breaker import CircuitBreaker


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Every service that the front asks."""

    feedback: Guarded[Feedback]
    features: Guarded[Features]
    candidates: Guarded[CandidateGeneration]
    ranking: Guarded[Ranking]

    @classmethod
    def of(
        cls, feedback: Feedback, features: Features, candidates: CandidateGeneration, ranking: Ranking
    ) -> Dependencies:
        """Each port with a breaker of its own."""
        return cls(
            Guarded("feedback", feedback, CircuitBreaker("feedback")),
            Guarded("feature", features, CircuitBreaker("feature")),
            Guarded("candidate-generation", candidates, CircuitBreaker("candidate-generation")),
            Guarded("ranking", ranking, CircuitBreaker("ranking")),
        )

    def start_probing(self, tasks: Supervised) -> None:
        """From now on what is lost is noticed when it comes back."""
        for guarded in self._all():
            tasks.start(f"probes of {guarded.name}", guarded.probe)

    def _all(self) -> Iterator[Guarded[Feedback] | Guarded[Features] | Guarded[CandidateGeneration] | Guarded[Ranking]]:
        yield from (self.feedback, self.features, self.candidates, self.ranking)
