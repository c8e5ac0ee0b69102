"""The ranker's program with the toy's scorer: what `python -m services.ranking` does but for the model."""

from __future__ import annotations

from services.ranking.app import open_ranking
from services.ranking.settings import RankingSettings
from shared.kernel.config import load
from shared.kernel.hosting import run_process
from shared.kernel.process import ProcessSettings
from tests.integration.ranking.toy import load_toy

if __name__ == "__main__":
    run_process("ranking", lambda: open_ranking(load(RankingSettings), load(ProcessSettings), load_toy))
