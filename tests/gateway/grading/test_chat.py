"""Questions as chat completions, and completions as answers."""

import json
from typing import Any

import pytest

from gateway.errors import ErrorObject, UpstreamRefused
from gateway.grading.chat import answer, is_about_structure, request_body
from judges.ask import AskFailed, Question
from judges.grade import Tokens
from tests.contract import conforms

QUESTION = Question("m", [{"role": "user", "content": "Rate"}], {"type": "object"}, {"temperature": 0})
TOKENS = Tokens(3, 2, 1)


def completion(message: Any, **choice: Any) -> bytes:
    return json.dumps(
        {"model": "m-1", "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}
    ).encode()


class TestRequest:
    def test_is_openais(self) -> None:
        body = json.loads(request_body(QUESTION, structured=True))
        conforms("CreateChatCompletionRequest", body)
        assert body["response_format"]["json_schema"] == {"name": "grade", "strict": True, "schema": {"type": "object"}}
        assert (body["model"], body["temperature"], "stream" in body) == ("m", 0, False)

    def test_without_structure(self) -> None:
        assert "response_format" not in json.loads(request_body(QUESTION, structured=False))


class TestAnswer:
    def test_text(self) -> None:
        found = answer(completion({"role": "assistant", "content": "0.7"}), QUESTION, TOKENS)
        assert (found.text, found.refusal, found.finish_reason, found.model) == ("0.7", None, "stop", "m-1")
        assert found.tokens == TOKENS

    def test_refusal(self) -> None:
        found = answer(completion({"role": "assistant", "content": None, "refusal": "No."}), QUESTION, TOKENS)
        assert (found.text, found.refusal) == ("", "No.")

    def test_a_model_without_a_name_has_the_one_that_was_asked_for(self) -> None:
        assert answer(b'{"choices": [{"message": {}}]}', QUESTION, TOKENS).model == "m"

    @pytest.mark.parametrize(
        "body", [b"", b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b"[" * 10_000, b"\xff"]
    )
    def test_no_completion(self, body: bytes) -> None:
        with pytest.raises(AskFailed, match="`m`"):
            answer(body, QUESTION, TOKENS)


class TestStructure:
    @pytest.mark.parametrize(
        ("message", "param", "expected"),
        [
            ("The embedded engine does not support response_format of type 'json_schema'.", "response_format", True),
            (
                "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
                None,
                True,
            ),
            ("unknown field", "response_format.type", True),
            ("Structured outputs are not available.", None, True),
            ("Rate limit reached", None, False),
            ("maximum context length", "messages", False),
        ],
    )
    def test_is_what_was_refused(self, message: str, param: str | None, expected: bool) -> None:
        refusal = UpstreamRefused(400, ErrorObject(message=message, type="invalid_request_error", param=param))
        assert is_about_structure(refusal) is expected
