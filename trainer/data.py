"""Reading a training file: JSONL in OpenAI's chat format -> messages as chat templates take them. `trainer.preferences`
reads pairs of answers with the same rules.

What templates disagree with OpenAI about is settled here, once for every method:
- content: None -> "", a list of text parts -> their texts joined by line ends (as vLLM does)
- `arguments` of a tool call: a JSON string -> an object (templates write it with `tojson`; vLLM does the same)
- `functions` and `function_call`, deprecated -> `tools` and `tool_calls`; role `function` -> `tool`
- `weight` (0 or 1, assistant messages only) -> `Example.trained`
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from trainer.failures import Param, TrainingFailed, invalid_file

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Example:
    line: int
    """In the file, from 1."""
    messages: list[Json]
    trained: tuple[int, ...]
    """Indices of the assistant messages that carry loss."""
    tools: list[Json] | None


class InvalidLine(Exception):
    """What is wrong with one line."""


def count_examples(path: Path, param: Param) -> int:
    """Lines that are not empty. Raises TrainingFailed when there is no such file."""
    with _lines(path, param) as lines:
        return sum(not line.isspace() for line in lines)


def read_examples(path: Path, param: Param) -> Iterator[Example]:
    """One after the other, so that a large file is never in memory as a whole. Raises TrainingFailed with the line's
    number; skips empty lines."""
    return read_lines(path, param, _example)


def read_lines(path: Path, param: Param, parse: Callable[[int, Any], T]) -> Iterator[T]:
    """What `parse` makes of each line that is not empty: it takes the line's number, from 1, and its JSON value, and
    raises InvalidLine. Raises TrainingFailed with the line's number."""
    with _lines(path, param) as lines:
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            try:
                yield parse(number, _json(line))
            except InvalidLine as problem:
                raise invalid_file(param, f"Line {number}: {problem}.") from None


def require_enough(examples: int, minimum: int) -> None:
    """OpenAI's refusal, in its words."""
    if examples < minimum:
        message = f"Training file has {examples} example(s), but must have at least {minimum} examples"
        raise TrainingFailed("invalid_n_examples", message, "training_file")


def _lines(path: Path, param: Param) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise invalid_file(param, f"The {param.replace('_', ' ')} is missing.") from None


def _json(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise InvalidLine(f"not valid JSON ({error})") from None


def _example(number: int, fields: Any) -> Example:
    messages = fields.get("messages") if isinstance(fields, dict) else None
    return Example(number, *conversation(messages), tools_of(fields))


def conversation(messages: Any) -> tuple[list[Json], tuple[int, ...]]:
    """OpenAI's messages -> a template's, and which of them are trained. Raises InvalidLine."""
    if not isinstance(messages, list) or not messages:
        raise InvalidLine("an object with a non-empty list of messages is expected")
    trained = tuple(index for index, message in enumerate(messages) if _is_trained(index, message))
    return [_message(index, message) for index, message in enumerate(messages)], trained


def _is_trained(index: int, message: Any) -> bool:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        raise InvalidLine(f"message {index + 1} has no known role")
    weight = message.get("weight")
    if message["role"] != "assistant":
        return False
    if weight not in (None, 0, 1):
        raise InvalidLine(f"message {index + 1} has a weight other than 0 and 1")
    return weight != 0


def _message(index: int, message: Json) -> Json:
    """OpenAI's message -> a template's; unknown fields stay."""
    kept = {
        name: value for name, value in message.items() if value is not None and name not in ("weight", "function_call")
    }
    kept["content"] = _text(index, message.get("content"))
    if message["role"] == "function":
        kept["role"] = "tool"
    calls = message.get("tool_calls") or []
    if message.get("function_call"):
        calls = [{"type": "function", "function": message["function_call"]}, *calls]
    if calls:
        kept["tool_calls"] = [_tool_call(index, call) for call in calls]
    return kept


def _text(index: int, content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "\n".join(_part(index, part) for part in content)
    raise InvalidLine(f"message {index + 1} has content that is neither text nor a list of parts")


def _part(index: int, part: Json) -> str:
    text = part.get("text") if part.get("type") == "text" else part.get("refusal")
    if not isinstance(text, str):
        raise InvalidLine(f"message {index + 1} has a part of type {part.get('type')!r}; only text is trained on")
    return text


def _tool_call(index: int, call: Any) -> Json:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidLine(f"message {index + 1} has a tool call without a function name")
    return {**call, "type": "function", "function": {**function, "arguments": _arguments(index, function)}}


def _arguments(index: int, function: Json) -> Any:
    arguments = function.get("arguments") or {}
    if not isinstance(arguments, str):
        return arguments
    try:
        return msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        raise InvalidLine(f"message {index + 1} has tool call arguments that are not valid JSON") from None


def tools_of(fields: Json) -> list[Json] | None:
    """None where there are none: templates ask whether `tools` is there."""
    tools = fields.get("tools") or [{"type": "function", "function": one} for one in fields.get("functions") or []]
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise InvalidLine("tools must be a list of objects")
    return tools or None
