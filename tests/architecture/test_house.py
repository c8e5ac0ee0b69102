"""The house style that a linter does not know: layers, sizes, names."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAYING_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "core"}
FILE_LINES, FUNCTION_LINES = 300, 40


def sources() -> Iterator[Path]:
    for folder in ("shared", "services"):
        yield from (path for path in (ROOT / folder).rglob("*.py") if "stubs" not in path.parts)


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length of each function, its docstring not counted."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            yield node.name, (node.end_lineno or 0) - body[0].lineno + 1


def test_imports_go_down_the_layers_only() -> None:
    lint_imports = Path(sys.executable).parent / "lint-imports"

    result = subprocess.run([lint_imports], cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout


def test_no_file_is_longer_than_three_hundred_lines() -> None:
    lengths = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in sources()}

    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_longer_than_forty_lines() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{name}": lines
        for path in sources()
        for name, lines in functions(path)
        if lines > FUNCTION_LINES
    }

    assert long == {}


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [str(path) for path in sources() if path.stem.strip("_") in SAYING_NOTHING] == []


def test_every_module_begins_with_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in sources()
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert silent == []


RUNS_OR_WRITES_WHAT_CAME_ALONG = {
    ("pickle", "load"), ("pickle", "loads"), ("torch", "load"), ("shutil", "unpack_archive"), ("marshal", "loads"),
    ("yaml", "load"), ("yaml", "unsafe_load"), ("os", "system"),
}  # fmt: skip
PRIVATE_PIPE = "services/ranking/ray_process.py:pickle.load"
"""Between a process and its own child."""


def calls(path: Path) -> Iterator[str]:
    """What a source calls that could run code of a file, or write to a path that stands in an archive."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = node.func.value.id if isinstance(node.func.value, ast.Name) else ""
        if any(each.arg == "weights_only" and ast.unparse(each.value) == "True" for each in node.keywords):
            continue  # torch then reads tensors and nothing else
        if (owner, node.func.attr) in RUNS_OR_WRITES_WHAT_CAME_ALONG or node.func.attr in {"extract", "extractall"}:
            yield f"{path.relative_to(ROOT)}:{owner}.{node.func.attr}"


def test_nothing_is_unpickled_and_no_archive_chooses_the_paths_that_are_written() -> None:
    found = {call for path in sources() for call in calls(path)}

    assert found - {"shared/kernel/tracing.py:propagate.extract"} == {PRIVATE_PIPE}
