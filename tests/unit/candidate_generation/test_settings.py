"""Settings of candidate generation: what cannot be used is named."""

from __future__ import annotations

import pytest

from services.candidate_generation.settings import DEFAULT_QUOTAS, CandidateGenerationSettings
from shared.kernel.config import ConfigError, load
from tests.unit.candidate_generation.rooms import Room, all_sources


def test_every_source_has_a_quota_and_every_quota_a_source() -> None:
    assert {source.name for source in all_sources(Room())} == set(DEFAULT_QUOTAS)


def test_quotas_are_read_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_CANDIDATE_GENERATION_QUOTAS", '{"popular": 7}')

    assert load(CandidateGenerationSettings).quotas == {"popular": 7}


@pytest.mark.parametrize(
    ("value", "told"),
    [('{"telepathy": 3}', "unknown sources telepathy"), ('{"popular": -1}', "negative quota of popular")],
)
def test_quotas_that_cannot_be_used_are_named(monkeypatch: pytest.MonkeyPatch, value: str, told: str) -> None:
    monkeypatch.setenv("WINNOW_CANDIDATE_GENERATION_QUOTAS", value)

    with pytest.raises(ConfigError, match=told) as caught:
        load(CandidateGenerationSettings)

    assert "WINNOW_CANDIDATE_GENERATION_QUOTAS" in str(caught.value)
