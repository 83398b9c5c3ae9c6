"""Errors of Anthropic's, as OpenAI's clients know them."""

import json

import msgspec
import pytest
from anthropic.types.shared import ErrorResponse

from gateway.upstreams.anthropic.errors import read_error


def read(kind: str, message: str = "so it is") -> tuple[str, str | None, str | None]:
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
    error = read_error(json.dumps(body).encode())
    assert error is not None
    assert error.message == message
    return error.type, error.code, error.param


class TestReadError:
    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("invalid_request_error", ("invalid_request_error", None, None)),
            ("authentication_error", ("invalid_request_error", "invalid_api_key", None)),
            ("permission_error", ("invalid_request_error", "insufficient_permissions", None)),
            ("billing_error", ("insufficient_quota", "insufficient_quota", None)),
            ("not_found_error", ("invalid_request_error", "not_found", None)),
            ("request_too_large", ("invalid_request_error", "content_too_large", None)),
            ("rate_limit_error", ("requests", "rate_limit_exceeded", None)),
            ("api_error", ("server_error", None, None)),
            ("timeout_error", ("server_error", "upstream_timeout", None)),
            ("overloaded_error", ("server_error", "server_is_overloaded", None)),
            ("brand_new_error", ("invalid_request_error", None, None)),
        ],
    )
    def test_each_type(self, kind: str, expected: tuple[str, str | None, str | None]) -> None:
        assert read(kind) == expected

    @pytest.mark.parametrize(
        "message",
        [
            "prompt is too long: 210000 tokens > 200000 maximum",
            "input length and `max_tokens` exceed context limit: 195000 + 21333 > 200000",
        ],
    )
    def test_a_prompt_that_does_not_fit(self, message: str) -> None:
        assert read("invalid_request_error", message) == (
            "invalid_request_error",
            "context_length_exceeded",
            "messages",
        )

    def test_a_model_that_does_not_exist(self) -> None:
        assert read("not_found_error", "model: claude-9") == ("invalid_request_error", "model_not_found", "model")

    def test_what_the_package_calls_an_error_is_one(self) -> None:
        """Every type that the package knows is understood."""
        kinds = [kind.__name__ for kind in ErrorResponse.model_fields["error"].annotation.__args__]
        assert len(kinds) > 5
        for kind in ErrorResponse.model_fields["error"].annotation.__args__:
            wire = kind.model_fields["type"].annotation.__args__[0]
            assert read(wire) != read("brand_new_error") or wire == "invalid_request_error"

    def test_an_error_in_openais_form(self) -> None:
        error = read_error(b'{"error": {"message": "no", "type": "t", "param": null, "code": "c"}}')
        assert msgspec.to_builtins(error) == {"message": "no", "type": "t", "param": None, "code": "c"}

    @pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b'{"error": "no"}', b'{"type": "error"}', b"\xff"])
    def test_what_is_none(self, body: bytes) -> None:
        assert read_error(body) is None
