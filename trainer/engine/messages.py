"""Chat messages as they come, to what chat templates expect.

The same rules as when training reads a file (`trainer/data.py`, then `trainer/dialect.py` in both): an adapter must see at
serving what it saw at training.
"""

import json
from typing import Any

import msgspec

from trainer.engine.protocol import ContentPart, Message, Tool, invalid_field
from trainer.engine.refusals import Invalid, Unsupported


def for_template(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Plain dicts with text contents, as vLLM prepares them too: text parts are joined by line breaks, arguments of
    tool calls are objects; fields that are unknown here stay, a template may use them. Raises Invalid."""
    return [one_for_template(message, at) for at, message in enumerate(messages)]


def one_for_template(message: dict[str, Any], at: int) -> dict[str, Any]:
    typed = checked(message, at)
    written = {
        name: value for name, value in message.items() if value is not None and name not in ("weight", "function_call")
    }
    written["content"] = text_of(typed.content, at)
    if typed.role == "function":
        written["role"] = "tool"
    calls = typed.tool_calls or []
    if typed.function_call:
        calls = [{"type": "function", "function": typed.function_call}, *calls]
    if calls:
        written["tool_calls"] = [tool_call(call, at) for call in calls]
    return written


def checked(message: dict[str, Any], at: int) -> Message:
    path = f"messages[{at}]"
    try:
        typed = msgspec.convert(message, Message)
    except msgspec.ValidationError as error:
        raise invalid_field(str(error), within=path) from error
    if typed.content is None and typed.role != "assistant":
        raise Invalid(f"Missing required parameter: '{path}.content'.", f"{path}.content", "missing_required_parameter")
    return typed


def text_of(content: str | list[ContentPart] | None, at: int) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(part_text(part, f"messages[{at}].content[{place}]") for place, part in enumerate(content))


def part_text(part: ContentPart, path: str) -> str:
    if part.type not in ("text", "refusal"):
        raise Unsupported(f"content parts of type '{part.type}'", path)
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise Invalid(
            f"Missing required parameter: '{path}.{part.type}'.", f"{path}.{part.type}", "missing_required_parameter"
        )
    return text


def tool_call(call: dict[str, Any], at: int) -> dict[str, Any]:
    """OpenAI's arguments are a JSON string; templates write the object."""
    path = f"messages[{at}].tool_calls"
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Invalid(
            f"Missing required parameter: '{path}.function.name'.",
            f"{path}.function.name",
            "missing_required_parameter",
        )
    arguments = function.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            path = f"{path}.function.arguments"
            raise Invalid(f"Invalid '{path}': it is not valid JSON.", path, "invalid_value") from error
    return {**call, "type": "function", "function": {**function, "arguments": arguments}}


def tools_for_template(tools: list[Tool] | None) -> list[dict[str, Any]] | None:
    return [{"type": "function", "function": tool.function} for tool in tools] if tools else None
