import random

import pytest

from gateway.datasets.fingerprints import Fingerprints


def of(contents: list[object], limit: int = 1 << 21) -> Fingerprints:
    prints = Fingerprints(limit)
    for line, content in enumerate(contents, start=1):
        prints.add(content, line)
    return prints


@pytest.mark.parametrize("limit", [4, 10, 1000])
def test_repeats_and_their_lines_however_often_merged(limit: int) -> None:
    prints = of(["a", "b", "a", "c", "a", "b"], limit)
    assert (prints.repeats, prints.lines) == (3, [3, 5, 6])


def test_nothing() -> None:
    assert (Fingerprints().repeats, Fingerprints().lines) == (0, [])
    assert of([1, 2, 3]).repeats == 0


def test_asked_in_between_it_goes_on() -> None:
    prints = of(["a", "a"])
    assert prints.repeats == 1
    prints.add("a", 3)
    assert (prints.repeats, prints.lines) == (2, [2, 3])


def test_one_content_without_end_needs_no_estimate() -> None:
    assert of(["same"] * 10_000, limit=16).repeats == 9_999


def test_more_contents_than_the_limit_are_estimated() -> None:
    chance = random.Random(1)
    contents: list[object] = [f"{chance.random()}" for _ in range(20_000)]
    prints = of(contents + contents[:10_000], limit=2_000)
    assert prints.repeats == pytest.approx(10_000, rel=0.15)
    assert len(prints._hashes) <= 2_000
