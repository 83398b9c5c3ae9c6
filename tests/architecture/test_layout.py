"""Tests mirror the tree, and one refusal class has one place in the drawing of gateway/errors.py."""

import inspect
import re
from pathlib import Path

import pytest

from gateway import errors
from gateway.errors import Refusal

ROOT = Path(__file__).parents[2]
MIRRORED = ("gateway", "judges", "trainer", "admin", "deploy")
NOT_MIRRORED = {
    "architecture", "browser", "clients", "contract", "docs", "fakes", "faults", "openai_node", "openai_sdk", "vllm",
}  # fmt: skip


def test_every_test_folder_mirrors_a_folder() -> None:
    """Or a module whose tests are more than one file holds."""
    folders = [path for path in (ROOT / "tests").rglob("*") if path.is_dir() and any(path.glob("test_*.py"))]
    strays = [
        str(folder.relative_to(ROOT))
        for folder in folders
        if folder.relative_to(ROOT / "tests").parts[0] not in NOT_MIRRORED
        and not (mirrored := ROOT / folder.relative_to(ROOT / "tests")).is_dir()
        and not mirrored.with_suffix(".py").is_file()
    ]
    assert strays == []


def refusals() -> list[type[Refusal]]:
    classes = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, Refusal)]
    return [each for each in classes if each.__module__ == errors.__name__]


@pytest.mark.parametrize("refusal", refusals(), ids=lambda each: each.__name__)
def test_the_tree_shows_every_refusal_with_its_status(refusal: type[Refusal]) -> None:
    assert errors.__doc__ is not None
    if refusal is Refusal:
        return
    line = re.search(rf"── {refusal.__name__} +(\d+|as sent)", errors.__doc__)
    assert line is not None, f"{refusal.__name__} is missing in the drawing"
    assert line[1] in (str(refusal.status), "as sent")
