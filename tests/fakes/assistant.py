"""The model `assistant` of the fake upstream: calls tools, answers with what they gave, keeps to a schema.

It says nothing of its own: names, numbers and texts come out of the conversation, so a turn that got lost on the way
shows in its answer.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PIECE = 5
"""Characters of a tool's arguments in one chunk of a stream."""


@dataclass(frozen=True)
class Reply:
    message: dict[str, Any]
    finish_reason: str


def reply(body: dict[str, Any]) -> Reply:
    """Every tool that is offered is called once at a user's turn; then their results are the answer."""
    messages = body["messages"]
    if body.get("tools") and messages[-1]["role"] == "user" and body.get("tool_choice") != "none":
        calls = [_call(tool, index, messages) for index, tool in enumerate(_chosen(body))]
        return Reply({"role": "assistant", "content": None, "tool_calls": calls, "refusal": None}, "tool_calls")
    return Reply({"role": "assistant", "content": _content(body), "refusal": None}, "stop")


def deltas(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The message in pieces, as OpenAI streams it: the role first, arguments of tools cut anywhere."""
    if message["content"] is not None:
        yield {"role": "assistant", "content": "", "refusal": None}
        yield from ({"content": word} for word in re.findall(r"\S+\s*", message["content"]))
        return
    yield {"role": "assistant", "content": None, "refusal": None}
    for index, call in enumerate(message["tool_calls"]):
        function = call["function"]
        yield {"tool_calls": [{"index": index, **call, "function": function | {"arguments": ""}}]}
        for start in range(0, len(function["arguments"]), PIECE):
            piece = function["arguments"][start : start + PIECE]
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _chosen(body: dict[str, Any]) -> list[dict[str, Any]]:
    choice = body.get("tool_choice")
    if not isinstance(choice, dict):
        return body["tools"]
    return [tool for tool in body["tools"] if tool["function"]["name"] == choice["function"]["name"]]


def _call(tool: dict[str, Any], index: int, messages: list[dict[str, Any]]) -> dict[str, Any]:
    function = tool["function"]
    arguments = _fitting(function["parameters"], function["parameters"], _text(messages[-1]))
    return {
        "id": f"call_{len(messages)}_{index}",
        "type": "function",
        "function": {"name": function["name"], "arguments": json.dumps(arguments)},
    }


def _content(body: dict[str, Any]) -> str:
    messages = body["messages"]
    results = _latest_results(messages)
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = wanted["json_schema"]["schema"]
        return json.dumps(_fitting(schema, schema, results or _text(messages[-1])))
    if messages[-1]["role"] == "tool":
        return f"I looked it up. {results}"
    return f"You said: {_text(messages[-1])}"


def _latest_results(messages: list[dict[str, Any]]) -> str:
    """What the tools gave after the latest calls, in the order of the messages."""
    found: list[str] = []
    for message in reversed(messages):
        if message["role"] == "tool":
            found.append(_text(message))
        elif found:
            break
    return " ".join(reversed(found))


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _fitting(schema: dict[str, Any], root: dict[str, Any], text: str) -> Any:
    """A value that fits a JSON schema: numbers are the first of the text, strings the text itself."""
    if "$ref" in schema:
        return _fitting(_referred(schema["$ref"], root), root, text)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _fitting(schema["anyOf"][0], root, text)
    if schema["type"] == "object":
        return {name: _fitting(each, root, text) for name, each in schema["properties"].items()}
    if schema["type"] == "array":
        return [_fitting(schema["items"], root, text)]
    number = re.search(r"\d+", text)
    return {"string": text, "boolean": True, "integer": int(number[0]) if number else 0}[schema["type"]]


def _referred(pointer: str, root: dict[str, Any]) -> dict[str, Any]:
    found = root
    for name in pointer.removeprefix("#/").split("/"):
        found = found[name]
    return found
