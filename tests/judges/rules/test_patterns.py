"""Regular expressions that others wrote."""

from typing import Any

import pytest

from judges.rules import patterns
from judges.rules.rule import RuleFailed

HOPELESS = r"(a|aa)+(b)$"
LONG = "a" * 60 + "c"


class TestSearch:
    def test_finds_anywhere(self) -> None:
        assert patterns.search("b+", "abba")
        assert not patterns.search("c", "abba")

    def test_what_takes_too_long_cannot_be_applied(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patterns, "SECONDS", 0.1)
        with pytest.raises(RuleFailed, match=r"took longer than 0\.1 s on this text"):
            patterns.search(HOPELESS, LONG)

    def test_time_that_other_threads_took_counts_for_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        busy = _Busy(until=15.0)
        monkeypatch.setattr(patterns.regex, "search", busy)
        assert patterns.search("b", "b")
        assert busy.given == sorted(busy.given)
        assert len(busy.given) > 1


class TestMatches:
    def test_are_the_first_groups_or_the_whole(self) -> None:
        assert patterns.matches(r"\[(\d)\]", "[1] and [2]") == ["1", "2"]
        assert patterns.matches(r"\d", "1 and 2") == ["1", "2"]

    def test_what_takes_too_long_cannot_be_applied(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patterns, "SECONDS", 0.1)
        with pytest.raises(RuleFailed, match="took longer"):
            patterns.matches(HOPELESS, LONG)

    def test_time_that_other_threads_took_counts_for_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        busy = _Busy(until=15.0)
        monkeypatch.setattr(patterns.regex, "finditer", busy)
        assert patterns.matches("b", "b") == []
        assert len(busy.given) > 1


class _Busy:
    """As the time limit of `regex` is where other threads take nearly all of it."""

    def __init__(self, until: float) -> None:
        self._until = until
        self.given: list[float] = []

    def __call__(self, pattern: str, text: str, *, timeout: float) -> list[Any]:
        self.given.append(timeout)
        if timeout < self._until:
            raise TimeoutError
        return []
