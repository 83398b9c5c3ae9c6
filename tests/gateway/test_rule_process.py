"""What a process that applies rules answers."""

import io
import json
from typing import Any

import pytest

from gateway import rule_process
from gateway.rule_frames import Question, Said, encode_question

ASKED = json.dumps({"messages": [{"role": "user", "content": "a number?"}]}).encode()
RULES = b'[{"type": "regex", "pattern": "^[0-9]+$"}]'


def whole(*texts: str) -> bytes:
    choices = [{"index": index, "message": {"role": "assistant", "content": text}} for index, text in enumerate(texts)]
    return json.dumps({"id": "chatcmpl-1", "choices": choices}).encode()


def told(reply: bytes, *, rules: bytes = RULES, streamed: bool = False) -> list[Said]:
    question = Question(rules=rules, request=ASKED, reply=reply, streamed=streamed)
    return rule_process.answer(encode_question(question))


class TestAnswer:
    def test_every_choice_has_its_verdict(self) -> None:
        assert [(each.index, each.passed) for each in told(whole("12", "x", "3"))] == [(0, True), (1, False), (2, True)]

    def test_a_stream_is_put_together(self) -> None:
        pieces = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in ("1", "2")]
        events = b"\n\n".join(b"data: " + json.dumps(each).encode() for each in pieces)
        assert [(each.index, each.passed) for each in told(events, streamed=True)] == [(0, True)]

    @pytest.mark.parametrize("reply", [b"", b"{", b"{}", b'{"choices": 1}', b"[]", whole("\ud800")])
    def test_what_cannot_be_read_is_no_pass(self, reply: bytes) -> None:
        assert [(each.passed, each.error_code) for each in told(reply)] == [(None, "unreadable")]

    def test_what_cannot_be_applied_is_an_error(self) -> None:
        [said] = told(whole("1"), rules=b'[{"type": "json_schema"}]')
        assert (said.passed, said.score, said.error_code) == (None, None, "rule")
        assert "no schema" in (said.rationale or "")

    def test_a_fault_of_ours_is_an_error_and_not_the_end(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(rule_process, "check", fail)
        [said] = told(whole("1"))
        assert (said.passed, said.error_code) == (None, "fault")
        assert "ZeroDivisionError" in capsys.readouterr().err

    @pytest.mark.parametrize("tools", [5, True, "x", {"a": 1}])
    def test_tools_that_are_no_list_are_none(self, tools: Any) -> None:
        request = json.dumps({"messages": [], "tools": tools}).encode()
        question = Question(rules=b'[{"type": "tool_calls"}]', request=request, reply=whole("1"), streamed=False)
        assert [each.passed for each in rule_process.answer(encode_question(question))] == [True]

    def test_what_nobody_thought_of_ends_no_process(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def fail(*_: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(rule_process, "subject", fail)
        [said] = told(whole("1"))
        assert (said.passed, said.error_code) == (None, "fault")
        assert "ZeroDivisionError" in capsys.readouterr().err

    def test_one_choice_may_be_asked_for(self) -> None:
        question = Question(rules=RULES, request=ASKED, reply=whole("12", "x"), streamed=False, choice=1)
        assert [(each.index, each.passed) for each in rule_process.answer(encode_question(question))] == [(1, False)]

    def test_words_are_such_that_they_can_be_stored(self) -> None:
        quoting = b'[{"type": "citations_in_context"}]'
        [said] = told(whole('It says "' + "a\x00b" * 20 + '" there.'), rules=quoting)
        assert "a\ufffdb" in (said.rationale or "")
        assert "\x00" not in (said.rationale or "")


class TestFrames:
    def test_are_read_to_the_end_of_the_pipe(self) -> None:
        pipe = io.BytesIO(b"\0\0\0\1a\0\0\0\0\0\0\0\2bc\0\0")
        assert list(rule_process._frames(pipe)) == [b"a", b"", b"bc"]  # type: ignore[reportPrivateUsage]
