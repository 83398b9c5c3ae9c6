"""What the system prompt should say."""

from typing import Any

import pytest

from gateway.guidance.suggestions.instructions import WORDS
from gateway.protocol.guidance import Cluster, Suggestion
from tests.gateway.guidance.materials import called, judged, only, report


def told(cluster: Cluster) -> list[Suggestion]:
    return [each for each in cluster.suggestions if each.kind == "instructions"]


def tagged(tag: str, count: int = 5, of: int = 20) -> Cluster:
    said = [judged(n, tags=[tag] if n < count else []) for n in range(of)]
    return only(judged=said)


class TestInstructions:
    @pytest.mark.parametrize(
        ("tag", "subject"),
        [("too long", "length"), ("not valid JSON", "json"), ("hallucination", "grounding"), ("Wrong language", "language"),
         ("no sources", "citations")],
    )  # fmt: skip
    def test_for_what_people_say(self, tag: str, subject: str) -> None:
        [found] = told(tagged(tag))
        assert found.snippet == WORDS[subject]
        assert "25%" in found.why

    def test_not_of_a_few_answers(self) -> None:
        assert told(tagged("too long", count=2, of=100)) == []

    def test_not_of_a_tag_that_nobody_knows(self) -> None:
        assert told(tagged("ticket 4711")) == []

    def test_a_criterion_tells_what_it_asks_for(self) -> None:
        said: list[Any] = [judged(n, passed=n > 4, criterion_id="crit_helpful", source="external") for n in range(9)]
        [found] = told(only(judged=said))
        assert found.snippet == "Your answer will be judged by this: Does it help?"

    def test_thumbs_do_not_say_why(self) -> None:
        [found] = told(only(judged=[judged(n, passed=n > 4) for n in range(9)]))
        assert (found.title, found.snippet) == ("Find out why", None)

    def test_not_of_calls_that_failed(self) -> None:
        broken = [called(n, outcome="failed", status=502, code="upstream_failed") for n in range(5)]
        assert [told(each) for each in report(called=broken).clusters] == [[]]
