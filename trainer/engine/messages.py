"""Chat messages as they come, to what chat templates expect."""

import json
from typing import Any

from trainer.engine.protocol import ContentPart, Message, Tool
from trainer.engine.refusals import Invalid, Unsupported


def for_template(messages: list[Message]) -> list[dict[str, Any]]:
    """Plain dicts with text contents, as vLLM prepares them: text parts are joined by line breaks, arguments of tool
    calls are objects. A developer message is written as system: open models' templates know no developer."""
    return [one_for_template(message, at) for at, message in enumerate(messages)]


def one_for_template(message: Message, at: int) -> dict[str, Any]:
    written: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    if message.content is None and message.role != "assistant":
        raise Invalid(
            f"Invalid 'messages[{at}].content': it is required for role '{message.role}'.",
            f"messages[{at}].content",
            "missing_required_parameter",
        )
    written["content"] = text_of(message.content, at)
    for name in ("name", "tool_call_id", "reasoning_content"):
        if getattr(message, name) is not None:
            written[name] = getattr(message, name)
    if message.tool_calls:
        written["tool_calls"] = [tool_call(call, at) for call in message.tool_calls]
    return written


def text_of(content: str | list[ContentPart] | None, at: int) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(part_text(part, f"messages[{at}].content[{place}]") for place, part in enumerate(content))


def part_text(part: ContentPart, path: str) -> str:
    if part.type == "text" and part.text is not None:
        return part.text
    if part.type == "refusal" and part.refusal is not None:
        return part.refusal
    if part.type in ("text", "refusal"):
        raise Invalid(f"Missing required parameter: '{path}.{part.type}'.", f"{path}.{part.type}")
    raise Unsupported(f"content parts of type '{part.type}'", path)


def tool_call(call: dict[str, Any], at: int) -> dict[str, Any]:
    """OpenAI's arguments are a JSON string; templates write the object."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Invalid(f"Missing required parameter: 'messages[{at}].tool_calls.function.name'.", f"messages[{at}]")
    arguments = function.get("arguments") or "{}"
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError as error:
            path = f"messages[{at}].tool_calls.function.arguments"
            raise Invalid(f"Invalid '{path}': it is not valid JSON.", path, "invalid_value") from error
    return {**call, "function": {**function, "arguments": arguments}}


def tools_for_template(tools: list[Tool] | None) -> list[dict[str, Any]] | None:
    return [{"type": "function", "function": tool.function} for tool in tools] if tools else None
