"""Files and functions stay small enough to be read at once (AGENTS.md, "Style")."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gateway", "judges", "trainer", "admin", "deploy")
FILE_LINES = 600
FUNCTION_LINES = 40
METHOD_LINES = 80
"""In trainer/methods: one linear story a file."""


def sources() -> list[Path]:
    found = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(path for path in found if "migrations/versions" not in path.as_posix())


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length of each function, from its `def` to its last line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_size(path: Path) -> None:
    limit = METHOD_LINES if path.parent.name == "methods" else FUNCTION_LINES
    assert len(path.read_text().splitlines()) <= FILE_LINES
    assert [f"{name}: {lines} lines" for name, lines in functions(path) if lines > limit] == []
