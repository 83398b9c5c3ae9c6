"""How an upstream's API differs from OpenAI's: paths, headers and bodies.

What speaks OpenAI's API already is passed through as it came. Anthropic's Messages API is translated both ways
(gateway/upstreams/anthropic/; what is kept, dropped and refused: docs/providers.md).
"""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

import msgspec

from gateway.errors import ErrorObject, decode_error_object
from gateway.protocol.envelope import decode_fields, encode_fields
from gateway.protocol.upstreams import Kind
from gateway.upstreams.anthropic.dialect import AnthropicDialect


class Dialect(Protocol):
    """One API, seen from OpenAI's side. An instance belongs to one call: what its request was decides how its reply is
    read."""

    passes_on: bool
    """Events are OpenAI's already: `events` is not needed."""

    def path(self, endpoint: str) -> str:
        """Below the base URL, which ends in /v1. Raises InvalidRequest for an endpoint that the API does not have."""
        ...

    def headers(self, api_key: str, extra: Mapping[str, str]) -> dict[str, str]:
        """Credentials and what the API demands, names in lower case; `extra` wins."""
        ...

    def request(self, endpoint: str, body: bytes, *, served_name: str | None) -> bytes:
        """OpenAI's request in the upstream's form, with `served_name` as its model.

        Raises:
            InvalidRequest: it asks for something that the API cannot do; `param` names it.
        """
        ...

    def reply(self, body: bytes) -> bytes:
        """A whole reply in OpenAI's form. Raises UpstreamFailed if it is none."""
        ...

    def events(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Server-sent events, each without its blank line, in OpenAI's form: chunks, a usage chunk, `data: [DONE]`."""
        ...

    def error(self, status: int, body: bytes) -> ErrorObject | None:
        """What the body of an error status says, or None if it says nothing."""
        ...


class OpenAIDialect:
    """Passed through: the same bytes, the same events."""

    passes_on = True

    def path(self, endpoint: str) -> str:
        return endpoint

    def headers(self, api_key: str, extra: Mapping[str, str]) -> dict[str, str]:
        own = {"authorization": f"Bearer {api_key}"} if api_key else {}
        return own | {name.lower(): value for name, value in extra.items()} if extra else own

    def request(self, endpoint: str, body: bytes, *, served_name: str | None) -> bytes:
        if served_name is None:
            return body
        fields = decode_fields(body)
        fields["model"] = msgspec.Raw(encode_fields(served_name))
        return encode_fields(fields)

    def reply(self, body: bytes) -> bytes:
        return body

    def events(self, events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        return events

    def error(self, status: int, body: bytes) -> ErrorObject | None:
        return decode_error_object(body)


_OPENAI = OpenAIDialect()


def dialect_of(upstream_kind: Kind) -> Dialect:
    """For one call."""
    return AnthropicDialect() if upstream_kind == "anthropic" else _OPENAI
