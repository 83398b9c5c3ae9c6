"""What a request becomes, judged by Anthropic's own types."""

import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.upstreams.anthropic.request import messages_request
from tests.fakes.anthropic import problem

HELLO: dict[str, Any] = {"role": "user", "content": "hello"}
PNG = "data:image/png;base64,iVBORw0KGgo="
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def translated(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Anthropic's request for these messages; fails if the real API would not take it."""
    body = {"model": "claude", "messages": list(messages) or [HELLO]} | fields
    sent = json.loads(messages_request(json.dumps(body).encode(), None))
    assert problem(sent) is None
    return sent


def refused(*messages: dict[str, Any], **fields: Any) -> InvalidRequest:
    """The refusal that these messages get."""
    body = {"model": "claude", "messages": list(messages) or [HELLO]} | fields
    with pytest.raises(InvalidRequest) as raised:
        messages_request(json.dumps(body).encode(), None)
    return raised.value


def text(*texts: str) -> list[dict[str, Any]]:
    """Text blocks."""
    return [{"type": "text", "text": each} for each in texts]


def call(id: str, name: str = "weather", arguments: str = '{"city": "Bern"}') -> dict[str, Any]:
    """A tool call of an assistant's message."""
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asked(*calls: dict[str, Any], content: Any = None) -> dict[str, Any]:
    """An assistant's message that calls tools."""
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def told(id: str, content: Any = "sunny") -> dict[str, Any]:
    """A tool's message."""
    return {"role": "tool", "tool_call_id": id, "content": content}
