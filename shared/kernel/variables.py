"""The environment variables behind settings classes: their names, their typos, and `.env.example`."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, get_args

from dotenv import dotenv_values
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

PREFIX: Final = "WINNOW_"
ENV_FILE: Final = ".env"
FILE_SUFFIX: Final = "_FILE"
CLOSE: Final = 0.85
"""Similarity from which on an unknown variable counts as a typo of a known one."""

SettingsClasses = Iterable[type[BaseSettings]]

EXAMPLE_HEAD: Final = """\
# Every setting with its default. Copy this file to `.env` and uncomment what you change; the environment wins over it.
# A secret may come from a file instead: set <its variable>_FILE to the path.
"""


def variables(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """The fields of a settings class by the name of their variable, in order of declaration."""
    prefix = settings.model_config.get("env_prefix", "")
    return {
        str(field.validation_alias or f"{prefix}{name}".upper()): field for name, field in settings.model_fields.items()
    }


def is_secret(field: FieldInfo) -> bool:
    """Whether the field's value must never be shown."""
    return SecretStr in (field.annotation, *get_args(field.annotation))


def read_environment() -> dict[str, str]:
    """The variables that settings are read from: the process's environment over the `.env` file."""
    return {name: value for name, value in dotenv_values(ENV_FILE).items() if value is not None} | dict(os.environ)


def unknown_variables(classes: SettingsClasses, environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that look like a typo of a known one, each with the one that was probably meant."""
    known = set(_readable(classes))
    unknown = [name for name in environ if name.startswith(PREFIX) and name not in known]
    close = {name: difflib.get_close_matches(name, known, n=1, cutoff=CLOSE) for name in unknown}
    return {name: matches[0] for name, matches in close.items() if matches}


def env_example(classes: SettingsClasses) -> str:
    """Renders `.env.example`: each variable once, commented out, with its default and what it means."""
    seen: set[str] = set()
    sections = [EXAMPLE_HEAD]
    for settings in classes:
        own = {name: field for name, field in variables(settings).items() if name not in seen}
        seen |= own.keys()
        title = (settings.__doc__ or settings.__name__).strip().splitlines()[0]
        sections.append(f"\n# --- {title}\n" + "".join(_example(name, field) for name, field in own.items()))
    return "".join(sections)


def _readable(classes: SettingsClasses) -> Iterator[str]:
    for settings in classes:
        for name, field in variables(settings).items():
            yield name
            if is_secret(field):
                yield f"{name}{FILE_SUFFIX}"


def _example(name: str, field: FieldInfo) -> str:
    default = "" if field.is_required() or is_secret(field) else _as_text(field.get_default(call_default_factory=True))
    required = " (required)" if field.is_required() else ""
    return f"# {field.description or name}{required}\n# {name}={default}\n"


def _as_text(value: object) -> str:
    """A default as one would write it into the environment."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case dict():
            return json.dumps(value)
        case tuple() | list():
            return ",".join(map(_as_text, value))
        case _:
            return str(value)
