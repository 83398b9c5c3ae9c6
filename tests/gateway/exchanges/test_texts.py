"""What an exchange says, as a person looks for it."""

from typing import Any

import msgspec
import pytest

from gateway.exchanges.texts import SEARCHED_CHARACTERS, SHOWN_CHARACTERS, Texts, first_words, texts_of


def texts(request: Any, reply: Any = None) -> Texts:
    return texts_of(msgspec.json.encode(request), msgspec.json.encode(reply) if reply is not None else None)


def said(**message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": {"role": "assistant", **message}}]}


class TestTextsOf:
    def test_is_the_last_question_and_its_answer(self) -> None:
        messages = [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "before"},
            {"role": "user", "content": "second"},
        ]
        assert texts({"messages": messages}, said(content="now")) == Texts("second", "now")

    def test_of_several_choices_all(self) -> None:
        answer = {"choices": [{"message": {"content": "one"}}, {"message": {"content": "two"}}]}
        assert texts({"messages": [{"role": "user", "content": "q"}]}, answer) == Texts("q", "one two")

    def test_of_parts_their_texts_and_kinds(self) -> None:
        parts = [{"type": "text", "text": "what is"}, {"type": "image_url", "image_url": {"url": "data:..."}}]
        assert texts({"messages": [{"role": "user", "content": parts}]}) == Texts("what is [image_url]", "")

    def test_of_tools_their_names_and_arguments(self) -> None:
        call = {"function": {"name": "find_order", "arguments": '{"order": 7}'}}
        found = texts({"messages": [{"role": "user", "content": "q"}]}, said(content=None, tool_calls=[call]))
        assert found.answer == 'find_order {"order": 7}'

    def test_of_a_text_completion_the_prompt_and_the_text(self) -> None:
        assert texts({"prompt": "once"}, {"choices": [{"text": " upon"}]}) == Texts("once", " upon")

    @pytest.mark.parametrize(
        "request_body",
        [b"", b"{", b"[]", b'"x"', b"\xff", b'{"messages": 5}', b'{"messages": [5, null]}', b'{"messages": [{}]}',
         b'{"prompt": {"a": 1}}', b"[" * 5000,
         b'{"messages": [{"content": ' + b'[{"text":' * 400 + b'"x"' + b"}]" * 400 + b"}]}"],
    )  # fmt: skip
    def test_whatever_was_sent_is_no_failure(self, request_body: bytes) -> None:
        assert texts_of(request_body, request_body).answer == ""

    def test_no_more_than_is_searched_and_nothing_that_the_database_refuses(self) -> None:
        long = texts_of(b'{"prompt": "' + b"x" * 30_000 + b'"}', b'{"choices": [{"text": "a\\u0000b"}]}')
        assert len(long.question) == SEARCHED_CHARACTERS
        assert long.answer == "a\ufffdb"


class TestFirstWords:
    def test_is_one_line(self) -> None:
        assert first_words("one\n two\t three ") == "one two three"

    def test_is_cut(self) -> None:
        cut = first_words("word " * 1000)
        assert len(cut) == SHOWN_CHARACTERS
        assert cut.endswith("\u2026")
