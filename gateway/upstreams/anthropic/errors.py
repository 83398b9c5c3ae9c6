"""Anthropic's errors in OpenAI's form.

`{"type": "error", "error": {"type", "message"}, "request_id"}`; the types and their statuses:
platform.claude.com/docs/en/api/errors and anthropic.types.shared.ErrorObject.
"""

from typing import Any, Literal

import msgspec

from gateway.errors import ErrorObject, decode_error_object

BAD = "invalid_request_error"
BROKEN = "server_error"

_KINDS: dict[str, tuple[str, str | None]] = {
    "invalid_request_error": (BAD, None),
    "conflict_error": (BAD, "conflict"),
    "authentication_error": (BAD, "invalid_api_key"),
    "permission_error": (BAD, "insufficient_permissions"),
    "billing_error": ("insufficient_quota", "insufficient_quota"),
    "not_found_error": (BAD, "not_found"),
    "request_too_large": (BAD, "content_too_large"),
    "rate_limit_error": ("requests", "rate_limit_exceeded"),
    "api_error": (BROKEN, None),
    "timeout_error": (BROKEN, "upstream_timeout"),
    "overloaded_error": (BROKEN, "server_is_overloaded"),
}
"""Anthropic's type -> OpenAI's type and code (contract section 0)."""

_TOO_LONG = ("prompt is too long", "exceed context limit")
"""Anthropic has no code for it: "prompt is too long: 210000 tokens > 200000 maximum", "input length and `max_tokens`
exceed context limit: ...". Clients and routes look for OpenAI's code."""


class _Error(msgspec.Struct):
    type: str
    message: str


class _Body(msgspec.Struct):
    type: Literal["error"]
    error: _Error


_decode = msgspec.json.Decoder(_Body).decode


def read_error(body: bytes) -> ErrorObject | None:
    """The error of a body, also of one that a proxy in between wrote in OpenAI's form; None when there is none."""
    try:
        return error_object(_decode(body).error)
    except (ValueError, RecursionError):
        return decode_error_object(body)


def error_object(error: Any) -> ErrorObject:
    """OpenAI's error object for one of Anthropic's.

    Args:
        error: has `type` and `message`.
    """
    kind, code = _KINDS.get(error.type, (BAD, None))
    if kind == BAD and any(phrase in error.message for phrase in _TOO_LONG):
        return ErrorObject(message=error.message, type=BAD, param="messages", code="context_length_exceeded")
    if error.type == "not_found_error" and error.message.startswith("model:"):
        return ErrorObject(message=error.message, type=BAD, param="model", code="model_not_found")
    return ErrorObject(message=error.message, type=kind, code=code)
