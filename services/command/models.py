"""`winnow models`: what the registry holds, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from services.command.options import Json, RegistryUrl
from services.command.output import fail, readable_errors, show, table

if TYPE_CHECKING:
    from shared.model.registry import Registry

app = typer.Typer(help="List the published model bundles, or go back to an earlier one.", no_args_is_help=True)


@app.command("list")
def list_models(registry: RegistryUrl = "", json: Json = False) -> None:
    """Every bundle: which is served, its metrics, and why one was rejected."""
    with _told():
        bundles = _registry(registry).list()
    rows = [
        [
            bundle.version,
            datetime.fromtimestamp(bundle.created_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
            "served" if bundle.current else "rejected" if bundle.rejected else "",
            *(bundle.metrics.get(name, float("nan")) for name in ("two_stage_ndcg@10", "retrieval_ndcg@10")),
        ]
        for bundle in bundles
    ]
    data = [
        {"version": bundle.version, "created_ms": bundle.created_ms, "current": bundle.current,
         "rejected": bundle.rejected, "metrics": bundle.metrics}
        for bundle in bundles
    ]  # fmt: skip
    show(json, data, table("", ["version", "created (UTC)", "state", "NDCG@10", "retrieval NDCG@10"], rows))


@app.command()
def rollback(
    to: Annotated[str, typer.Argument(help="Version to serve; empty: the one published before the present one.")] = "",
    registry: RegistryUrl = "",
    json: Json = False,
) -> None:
    """Point the services to an earlier bundle; they swap within a second, without losing a request."""
    with _told():
        version = _registry(registry).rollback(to or None)
    show(json, {"current": version}, table("", ["now served"], [[version]]))


@contextmanager
def _told() -> Iterator[None]:
    from shared.model.registry import RegistryError

    try:
        with readable_errors():
            yield
    except RegistryError as error:
        raise fail(str(error)) from error


def _registry(url: str) -> Registry:
    from services.command.places import registry_url
    from shared.model.registry import Registry

    return Registry(url or registry_url())
