"""Anthropic's Messages API as a dialect."""

from collections.abc import AsyncIterator, Mapping

import msgspec

from gateway.errors import ErrorObject, InvalidRequest
from gateway.upstreams.anthropic.errors import read_error
from gateway.upstreams.anthropic.reply import chat_completion
from gateway.upstreams.anthropic.request import messages_request
from gateway.upstreams.anthropic.stream import chunks

VERSION = "2026-10-21"
"""Of the API, sent as `anthropic-version`; an upstream's own `headers` may say another."""


class _Functions(msgspec.Struct):
    functions: list[msgspec.Raw] | None = None


_decode = msgspec.json.Decoder(_Functions).decode


class AnthropicDialect:
    """Translated both ways. See gateway.upstreams.dialect.Dialect for what each function promises.

    Who defines `functions`, the form before tools, expects a `function_call` in the reply: that is noted.
    """

    passes_on = False

    def __init__(self) -> None:
        self._functions = False

    def path(self, endpoint: str) -> str:
        if endpoint != "/chat/completions":
            raise InvalidRequest(
                f"This model is served by Anthropic's Messages API, which has no {endpoint}; "
                "send messages to /v1/chat/completions.",
                param="model",
                code="unsupported_endpoint",
            )
        return "/messages"

    def headers(self, api_key: str, extra: Mapping[str, str]) -> dict[str, str]:
        own = {"anthropic-version": VERSION} | ({"x-api-key": api_key} if api_key else {})
        return own | {name.lower(): value for name, value in extra.items()}

    def request(self, endpoint: str, body: bytes, *, served_name: str | None) -> bytes:
        self.path(endpoint)
        translated = messages_request(body, served_name)
        self._functions = b'"functions"' in body and bool(_decode(body).functions)
        return translated

    def reply(self, body: bytes) -> bytes:
        return chat_completion(body, functions=self._functions)

    def events(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return chunks(events, functions=self._functions)

    def error(self, status: int, body: bytes) -> ErrorObject | None:
        return read_error(body)
