"""The kernel is a kernel: it could serve any other product."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[3] / "shared/kernel").glob("*.py"))
FOREIGN = re.compile(r"recommend|slate|rating|\bitem\b|item_id|ranker|candidate|retriev|\buser\b|feedback|movie", re.I)


def code_of(file: Path) -> str:
    """The file without its comments and docstrings, in which examples may name a service."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
    return ast.unparse(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_word_of_the_product_is_in_the_kernel(file: Path) -> None:
    assert FOREIGN.findall(code_of(file)) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_kernel_imports_nothing_of_the_product_but_itself(file: Path) -> None:
    imported = re.findall(r"^(?:from|import) (shared\.\w+|services|winnow)", file.read_text(), re.MULTILINE)

    assert set(imported) <= {"shared.kernel"}
