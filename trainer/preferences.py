"""Reading a file of preferences: JSONL in OpenAI's format -> two conversations a line that differ in the last answer.

    {"input": {"messages": [...], "tools": [...]}, "preferred_output": [one message], "non_preferred_output": [one]}

`preferred_completion` and `non_preferred_completion`, OpenAI's names until July 2025, are read as well. Messages are read
by the rules of `trainer.data`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.data import Example, InvalidLine, Json, conversation, read_lines, tools_of
from trainer.failures import Param

_PREFERRED = ("preferred_output", "preferred_completion")
_REJECTED = ("non_preferred_output", "non_preferred_completion")


@dataclass(frozen=True, slots=True)
class Preference:
    """The same prompt with two answers; in both, the answer alone is trained."""

    preferred: Example
    rejected: Example


def read_preferences(path: Path, param: Param) -> Iterator[Preference]:
    """One after the other, so that a large file is never in memory as a whole. Raises TrainingFailed with the line's
    number and what to change; skips empty lines."""
    return read_lines(path, param, _preference)


def _preference(line: int, fields: Any) -> Preference:
    if not isinstance(fields, dict):
        raise InvalidLine("an object with input, preferred_output and non_preferred_output is expected")
    if "messages" in fields:
        raise InvalidLine(
            "this is the chat format, but a DPO job compares two answers. Give input, preferred_output and "
            'non_preferred_output, or use the method "supervised"'
        )
    prompt, tools = _prompt(fields)
    preferred, rejected = (_answer(fields, names) for names in (_PREFERRED, _REJECTED))
    trained = (len(prompt),)
    return Preference(
        preferred=Example(line, [*prompt, preferred], trained, tools),
        rejected=Example(line, [*prompt, rejected], trained, tools),
    )


def _prompt(fields: Json) -> tuple[list[Json], list[Json] | None]:
    """-> messages, tools."""
    given = fields.get("input")
    if not isinstance(given, dict):
        raise InvalidLine("input is missing: give an object with the messages that come before the two answers")
    if "tools" in fields or "functions" in fields:
        raise InvalidLine("tools belong inside input, beside its messages")
    messages = _messages("input", given.get("messages"), only_read=True)
    if messages[-1]["role"] == "assistant":
        raise InvalidLine(
            "input: the last message is the assistant's own. End input with the message that both answers reply to"
        )
    return messages, tools_of(given)


def _answer(fields: Json, names: tuple[str, str]) -> Json:
    """The one message under either of `names`."""
    given = [name for name in names if fields.get(name) is not None]
    if len(given) != 1:
        problem = "are two names of the same field: keep the first" if given else "is missing"
        raise InvalidLine(f"{' and '.join(given) or names[0]} {problem}")
    name, messages = given[0], fields[given[0]]
    if not isinstance(messages, list) or len(messages) != 1:
        raise InvalidLine(f"{name} must be a list with exactly one assistant message")
    (answer,) = _messages(name, messages)
    if answer["role"] != "assistant":
        raise InvalidLine(f"{name} has the role {answer['role']}, but only an answer of the assistant can be compared")
    if messages[0].get("weight") == 0:
        raise InvalidLine(f"{name} has weight 0, which would leave nothing to compare: remove the weight")
    return answer


def _messages(field: str, messages: Any, *, only_read: bool = False) -> list[Json]:
    try:
        return conversation(messages, only_read=only_read)[0]
    except InvalidLine as problem:
        raise InvalidLine(f"{field}: {problem}") from None
