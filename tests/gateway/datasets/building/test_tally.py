"""Counts by reason."""

from pathlib import Path

import pytest

from gateway.datasets.building.tally import REASONS, SHOWN, Tally, dropped_of

PAGE = Path(__file__).parents[4] / "docs" / "datasets.md"


class TestTally:
    def test_the_most_frequent_first_with_some_examples(self) -> None:
        tally = Tally()
        tally.drop("vetoed", exchange_id="a", other_exchange_id=None)
        for number in range(SHOWN + 2):
            tally.drop("tie", exchange_id=f"req_{number}")
        first, second = dropped_of(tally)
        assert (first.reason, first.count, len(first.examples)) == ("tie", SHOWN + 2, SHOWN)
        assert (second.reason, second.examples) == ("vetoed", [{"exchange_id": "a"}])

    def test_a_reason_that_nobody_explained(self) -> None:
        with pytest.raises(AssertionError):
            Tally().drop("because")


def test_the_page_tells_every_reason_in_the_same_words() -> None:
    text = PAGE.read_text()
    for name, meaning in REASONS.items():
        assert f"| `{name}` | {meaning} |" in text, name
