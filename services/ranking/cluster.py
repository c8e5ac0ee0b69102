"""The ranker as an application that a Ray cluster is told to run, as KubeRay's RayService does.

Its `import_path` is `services.ranking.cluster:application`; settings come from the environment of the cluster's pods.
How many replicas there are is for the Serve configuration to say.
"""

from __future__ import annotations

from collections.abc import Mapping

from ray.serve import Application

from services.ranking.deployment import build
from services.ranking.ray_plan import ReplicaConfig
from services.ranking.settings import RankingSettings
from shared.kernel.config import ConfigError, load
from shared.kernel.process import ProcessSettings


def application(_arguments: Mapping[str, str]) -> Application:
    """The application; Ray Serve calls it with the `args` of its configuration, of which there are none.

    Raises:
        ConfigError: a setting is wrong, or the token is not set: on a cluster nobody could tell callers a made one.
    """
    settings = load(RankingSettings)
    if settings.token is None:
        raise ConfigError("WINNOW_RANKING_TOKEN is not set; give the cluster's pods the token that callers send")
    return build(ReplicaConfig(settings, load(ProcessSettings), settings.token.get_secret_value(), ports=()))
