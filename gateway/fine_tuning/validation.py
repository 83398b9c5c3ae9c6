"""Training files in OpenAI's chat format, line by line (contract section 3, "Training files").

One pass, one line in memory. Every problem is told with its line; `Report.problems` keeps the first few and `bad` counts
them all. What only a tokenizer can tell (examples longer than the context) is reported by the trainer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

BOM = b"\xef\xbb\xbf"
MIN_EXAMPLES = 10
MAX_PROBLEMS = 20
PROBLEM_LIMIT = 300
"""Characters: a problem may quote what it found, which may be of any length."""
MAX_LINE = 32 * 1024 * 1024
"""Bytes of one example; a longer line is not a JSONL file."""


class Function(msgspec.Struct):
    name: str
    arguments: str


class ToolCall(msgspec.Struct):
    id: str
    type: Literal["function"]
    function: Function


class Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    weight: Literal[0, 1] | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    tool_call_id: str | None = None
    name: str | None = None


class Example(msgspec.Struct):
    messages: list[Message]
    tools: list[dict[str, Any]] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[dict[str, Any]] | None = None


@dataclass
class Report:
    """What a file holds."""

    examples: int = 0
    bad: int = 0
    problems: list[str] = field(default_factory=list[str])

    def add(self, line: int, problem: str) -> None:
        self.bad += 1
        if len(self.problems) < MAX_PROBLEMS:
            problem = problem if len(problem) <= PROBLEM_LIMIT else problem[:PROBLEM_LIMIT] + " ..."
            self.problems.append(f"Example {self.examples} (line {line}): {problem}")


_decode = msgspec.json.Decoder(Example).decode
_place = re.compile(r"(.*?)(?: - at `\$\.?(.*)`)?", re.DOTALL)


def validate_chat_file(path: Path) -> Report:
    """Read a whole file. Blank lines and a byte order mark are skipped; CRLF is fine."""
    report = Report()
    for number, line in _lines(path):
        if not line.strip():
            continue
        report.examples += 1
        if problem := problem_of(line):
            report.add(number, problem)
    return report


def problem_of(line: bytes) -> str | None:
    """What is wrong with one example, or None. The first problem of a line is the one to mend first."""
    if len(line) > MAX_LINE:
        return f"the line is longer than {MAX_LINE // 1024**2} MB; each example must be one JSON object on its own line"
    try:
        return _problem_of_json(line)
    except UnicodeDecodeError:
        return "line is not in UTF-8; save the file with that encoding"
    except msgspec.DecodeError as error:
        return f"line contains invalid JSON: {error}"
    except RecursionError:
        return "line contains invalid JSON: it is nested too deeply"


def _problem_of_json(line: bytes) -> str | None:
    try:
        example = _decode(line)
    except msgspec.ValidationError as error:
        return _other_format(line) or _wording(str(error))
    return _semantic_problem(example)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 2):
            number += 1
            rest = line
            while len(line) > MAX_LINE and rest and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE)
            yield number, line.removeprefix(BOM) if number == 1 else line


def _semantic_problem(example: Example) -> str | None:
    if not example.messages:
        return "`messages` is empty"
    for index, message in enumerate(example.messages):
        if problem := _message_problem(message):
            return f"message {index + 1} {problem}"
    if not any(message.role == "assistant" and message.weight != 0 for message in example.messages):
        return "there is no assistant message to learn from (all are missing or have weight 0)"
    return None


def _message_problem(message: Message) -> str | None:
    if message.weight is not None and message.role != "assistant":
        return f"has a weight, which only assistant messages may have (role {message.role})"
    if message.role == "assistant":
        if message.content is None and not message.tool_calls and not message.function_call:
            return "has neither `content` nor `tool_calls`"
    elif message.content is None:
        return f"has no `content` (role {message.role})"
    if message.role == "tool" and not message.tool_call_id:
        return "has no `tool_call_id`"
    return _content_problem(message.content) or _call_problem(message)


def _content_problem(content: str | list[dict[str, Any]] | None) -> str | None:
    for part in content if isinstance(content, list) else []:
        kind = part.get("type")
        if kind not in ("text", "refusal"):
            return "has content that is not text; images and audio cannot be trained on here"
        if not isinstance(part.get(kind), str):
            return f"has a part of type `{kind}` without its `{kind}`"
    return None


def _call_problem(message: Message) -> str | None:
    """Chat templates write arguments as objects."""
    calls = [call.function for call in message.tool_calls or []]
    for function in [*calls, message.function_call] if message.function_call else calls:
        try:
            msgspec.json.decode(function.arguments or "{}")
        except (msgspec.DecodeError, RecursionError):
            return f"calls `{function.name}` with `arguments` that are not valid JSON"
    return None


def _other_format(line: bytes) -> str | None:
    """A sentence for files of another kind, which would otherwise be told that `messages` is missing."""
    row = msgspec.json.decode(line)
    if not isinstance(row, dict):
        return "expected a JSON object with `messages`"
    if "messages" in row:
        return None
    if "preferred_output" in row or "preferred_completion" in row:
        return "the file is in the preference format, but the job's method is 'supervised'"
    if "prompt" in row and "completion" in row:
        return 'prompt/completion pairs are not chat messages; write {"messages": [{"role": "user", ...}, ...]}'
    return None


def _wording(error: str) -> str:
    """msgspec's sentence with the place in front: "messages[2].role: invalid enum value 'bot'"."""
    match = _place.fullmatch(error)
    what, place = (match[1], match[2]) if match else (error, None)
    what = what.removeprefix("Object ")
    return f"`{place}`: {what[0].lower()}{what[1:]}" if place else what
