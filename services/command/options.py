"""Options that several commands share, each described once."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts instead of a table.")]
Address = Annotated[str, typer.Option("--address", envvar="WINNOW_ADDRESS", help="Where Winnow answers (host:port).")]
RegistryUrl = Annotated[
    str, typer.Option("--registry", help="Folder or fsspec URL of the bundles; empty: <data dir>/registry.")
]
DEFAULT_ADDRESS = "127.0.0.1:50051"
