"""Every setting of every service: what `.env.example` lists, and what a misspelt variable probably meant.

usage: python -m services.command.environment > .env.example
"""

from __future__ import annotations

import os
import sys

import structlog

from services.candidate_generation.settings import CandidateGenerationSettings
from services.command.serving import OneProcessSettings
from services.feature.settings import FeatureSettings
from services.feedback.settings import FeedbackSettings
from services.ranking.settings import RankingSettings
from services.recommendation.settings import RecommendationSettings
from services.trainer.settings import TrainerSettings
from shared.kernel.limits import LimitSettings
from shared.kernel.process import ProcessSettings
from shared.kernel.security import SecuritySettings
from shared.kernel.variables import env_example, unknown_variables
from shared.model.content_settings import ContentSettings

SETTINGS = (
    ProcessSettings,
    SecuritySettings,
    LimitSettings,
    OneProcessSettings,
    RecommendationSettings,
    CandidateGenerationSettings,
    FeatureSettings,
    ContentSettings,
    RankingSettings,
    FeedbackSettings,
    TrainerSettings,
)


def warn_of_unknown_variables() -> None:
    """Log each `WINNOW_…` variable that no setting has and that looks like a misspelt one."""
    for wrong, meant in unknown_variables(SETTINGS, os.environ).items():
        structlog.get_logger().warning("settings.unknown_variable", variable=wrong, meant=meant)


if __name__ == "__main__":
    sys.stdout.write(env_example(SETTINGS))
