"""gateway/examples/index.py"""

from typing import Any

import msgspec
import pytest

from gateway.examples.index import MOST_TOKENS, Index, Shot, Wanted, shot, words

ANY = Wanted(count=3, tags=(), max_tokens=10_000, min_score=None)


def line(question: str, answer: str = "ok", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}]}


def made(question: str, *tags: str, score: float | None = None, answer: str = "ok") -> Shot:
    found = shot(line(question, answer), tags, score)
    assert found is not None
    return found


def asked(found: list[Shot]) -> list[str]:
    return [each.asked for each in found]


INDEX = Index(
    [
        made("How long does shipping to Norway take?", "shipping", score=0.9),
        made("What does shipping cost?", "shipping", "money", score=0.5),
        made("How do I return a lamp?", "returns"),
        made("Grüße aus München"),
        made("東京に送れますか"),
    ]
)


class TestSimilar:
    def test_best_first(self) -> None:
        assert asked(INDEX.similar("shipping to Norway, how long?", ANY))[:2] == [
            "How long does shipping to Norway take?",
            "What does shipping cost?",
        ]

    def test_nothing_in_common_is_not_similar(self) -> None:
        assert INDEX.similar("zebra", ANY) == []
        assert INDEX.similar("", ANY) == []
        assert INDEX.similar("?!", ANY) == []
        assert Index([]).similar("shipping", ANY) == []
        assert Index([made("...")]).similar("shipping", ANY) == []

    def test_in_any_script_and_case(self) -> None:
        assert asked(INDEX.similar("GRÜSSE", ANY)) == ["Grüße aus München"]
        assert asked(INDEX.similar("東京", ANY)) == ["東京に送れますか"]

    def test_tags_score_and_count(self) -> None:
        def found(**changes: Any) -> list[str]:
            wanted: dict[str, Any] = {"count": 3, "tags": (), "max_tokens": 10_000, "min_score": None} | changes
            return asked(INDEX.similar("how shipping", Wanted(**wanted)))

        assert len(found()) == 3
        assert len(found(count=1)) == 1
        assert found(tags=("shipping", "money")) == ["What does shipping cost?"]
        assert found(min_score=0.6) == ["How long does shipping to Norway take?"]
        assert found(tags=("none",)) == []

    def test_keeps_to_its_tokens(self) -> None:
        """One that is too long leaves its place to the next."""
        index = Index([made("shipping", answer="long " * 1000), made("shipping and more", answer="short")])
        assert asked(index.similar("shipping", Wanted(count=3, tags=(), max_tokens=100, min_score=None))) == [
            "shipping and more"
        ]
        assert index.similar("shipping", Wanted(count=3, tags=(), max_tokens=5, min_score=None)) == []


class TestShot:
    def test_has_no_system_message_and_no_weight(self) -> None:
        messages = [{"role": "system", "content": "s"}, *line("q", weight=0)["messages"]]
        found = shot({"messages": messages}, [], None)
        assert found is not None
        assert [msgspec.json.decode(raw) for raw in found.messages] == line("q")["messages"]

    @pytest.mark.parametrize(
        "messages",
        [
            [{"role": "system", "content": "s"}],
            [{"role": "user", "content": "q"}, {"role": "assistant", "tool_calls": [{}], "content": None}],
            [{"role": "user", "content": "q"}, {"role": "tool", "content": "x"}, {"role": "assistant", "content": "a"}],
        ],
    )
    def test_none_of_one_that_calls_tools(self, messages: list[Any]) -> None:
        assert shot({"messages": messages}, [], None) is None

    def test_content_in_parts(self) -> None:
        found = shot(line([{"type": "text", "text": "a b"}, {"type": "text", "text": "c"}]), [], None)  # type: ignore[arg-type]
        assert found is not None
        assert found.asked == "a b\nc"


def test_words_of_a_long_question_are_bounded() -> None:
    assert len(words("word " * 10_000)) == MOST_TOKENS
