"""Pitfall 10: how many copies with changed words are found, as docs/dataset-cleaning.md says it."""

import random
import re
from pathlib import Path

import pytest

from tests.gateway.datasets.cleaning.test_near import prompts, together, word

PAGE = Path(__file__).parents[4] / "docs" / "dataset-cleaning.md"
COUNT = 300
TOLERANCE = 0.06
THRESHOLDS = (0.5, 0.7, 0.8)


def recall(changed: int, threshold: float, place: Path) -> float:
    """Share of 30-word prompts whose copy with so many words changed is found."""
    originals, source = prompts(COUNT, seed=changed), random.Random(200 + changed)
    copies: list[list[str]] = []
    for original in originals:
        copy = list(original)
        for at in source.sample(range(len(copy)), changed):
            copy[at] = word(source)
        copies.append(copy)
    unions = together([" ".join(each) for each in (*originals, *copies)], place, threshold)
    return sum(unions.root(at) == unions.root(at + COUNT) for at in range(COUNT)) / COUNT


def documented() -> dict[int, list[float]]:
    """Changed words -> shares at the thresholds."""
    rows = re.findall(r"^\| (\d) \| ([\d.]+) % \| ([\d.]+) % \| ([\d.]+) % \|$", PAGE.read_text(), re.MULTILINE)
    return {int(changed): [float(share) / 100 for share in shares] for changed, *shares in rows}


@pytest.mark.parametrize("changed", range(5))
def test_is_as_documented(changed: int, tmp_path: Path) -> None:
    found = [recall(changed, threshold, tmp_path / str(threshold)) for threshold in THRESHOLDS]
    assert documented()[changed] == pytest.approx(found, abs=TOLERANCE)


def test_the_default_finds_four_changed_words() -> None:
    assert all(shares[0] >= 0.99 for shares in documented().values())
    assert len(documented()) == 5
