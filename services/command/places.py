"""Where things are: the data folder and what lies in it."""

from __future__ import annotations

from pathlib import Path

from shared.kernel.config import ServiceSettings, load


def data_dir() -> Path:
    """The folder that holds everything that is kept (WINNOW_DATA_DIR)."""
    return load(ServiceSettings).data_dir


def registry_url() -> str:
    """The embedded registry of bundles."""
    return str(data_dir() / "registry")


def cache_dir() -> Path:
    """What was downloaded once."""
    return data_dir() / "cache"
