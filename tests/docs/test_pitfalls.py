"""docs/pitfalls.md names tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pitfalls.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`", PAGE)


class TestPage:
    def test_tells_of_twenty(self) -> None:
        assert [int(number) for number in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)] == list(range(1, 21))

    def test_each_names_a_test(self) -> None:
        rows = [line for line in PAGE.splitlines() if re.match(r"\| \d+ \|", line)]
        assert all("`tests/" in line for line in rows)

    @pytest.mark.parametrize(("path", "name"), NAMED)
    def test_that_is_there(self, path: str, name: str) -> None:
        text = (ROOT / path).read_text()
        assert re.search(rf"def {name or 'test_'}", text)
