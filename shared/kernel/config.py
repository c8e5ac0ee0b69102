"""Settings from the environment: one frozen class a service; a bad value stops the start and is named.

A field `history_limit_events` of a class with prefix `FEATURE` is the variable `WINNOW_FEATURE_HISTORY_LIMIT_EVENTS`,
also read from a `.env` file in the working directory. A secret may instead come from a file that
`<its variable>_FILE` names, as Kubernetes and Docker mount them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.kernel.variables import ENV_FILE, FILE_SUFFIX, PREFIX, is_secret, read_environment, variables

SHOWN_CHARACTERS: Final = 80
"""How much of a wrong value a message shows."""

COMMA_SEPARATED: Final = BeforeValidator(
    lambda value: [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
)
"""For tuples: `Annotated[tuple[str, ...], COMMA_SEPARATED]` reads `a,b`."""

JSON_TEXT: Final = BeforeValidator(lambda value: json.loads(value) if isinstance(value, str) else value)
"""For maps: `Annotated[dict[str, float], JSON_TEXT]` reads `{"a": 1}`."""


class ConfigError(Exception):
    """The process cannot start as it is set up; each problem names the thing, its value and the remedy."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ServiceSettings(BaseSettings):
    """What every settings class inherits: `class FeatureSettings(ServiceSettings, prefix="FEATURE")`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        enable_decoding=False,
        populate_by_name=True,
    )

    data_dir: Path = Field(
        Path(".winnow"), validation_alias=f"{PREFIX}DATA_DIR", description="folder that holds everything that is kept"
    )

    def __init_subclass__(cls, prefix: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if prefix:
            cls.model_config = {**cls.model_config, "env_prefix": f"{PREFIX}{prefix}_"}


Settings = TypeVar("Settings", bound=ServiceSettings)


def load(settings: type[Settings], **overrides: object) -> Settings:
    """Reads settings; precedence: overrides, secret files, the environment, `.env`, defaults.

    Raises:
        ConfigError: Some are missing or wrong; all of them are named at once.
    """
    if foreign := overrides.keys() - settings.model_fields.keys():
        raise ConfigError(f"{settings.__name__} has no setting named {', '.join(sorted(foreign))}")
    secrets, problems = _read_secret_files(settings, read_environment())
    values: dict[str, Any] = secrets | overrides
    try:
        loaded = settings(**values)
    except ValidationError as error:
        found = [(_variable(settings, each), each) for each in error.errors(include_url=False)]
        problems |= {name: _problem(settings, name, each) for name, each in found if name not in problems}
    if problems:
        raise ConfigError(*problems.values())
    return loaded


def _read_secret_files(settings: type[Settings], environ: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Reads what `<variable>_FILE` points to; gives the secrets by field and the problems by variable."""
    secrets: dict[str, str] = {}
    problems: dict[str, str] = {}
    for (name, field), key in zip(variables(settings).items(), settings.model_fields, strict=True):
        path = environ.get(f"{name}{FILE_SUFFIX}")
        if not path or not is_secret(field):
            continue
        if environ.get(name):
            problems[name] = f"{name} and {name}{FILE_SUFFIX} are both set: set one of them"
        try:
            secrets[key] = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            problems[name] = f"{name}{FILE_SUFFIX}={path!r}: this file cannot be read: {error}"
    return secrets, problems


def _variable(settings: type[Settings], detail: ErrorDetails) -> str:
    key = str(detail["loc"][0]) if detail["loc"] else settings.__name__
    return dict(zip(settings.model_fields, variables(settings), strict=True)).get(key, key)


def _problem(settings: type[Settings], variable: str, detail: ErrorDetails) -> str:
    field = variables(settings).get(variable)
    meaning = f" ({field.description})" if field and field.description else ""
    if detail["type"] == "missing":
        return f"{variable} is not set{meaning}"
    shown = "(secret)" if field and is_secret(field) else repr(detail["input"])[:SHOWN_CHARACTERS]
    inner = "".join(f"[{part}]" for part in detail["loc"][1:])
    return f"{variable}{inner}={shown}: {detail['msg'].removeprefix('Value error, ')}{meaning}"
