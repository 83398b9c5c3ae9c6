"""Reading a training file: JSONL in OpenAI's chat format -> messages as chat templates take them
(`trainer/messages.py`), and which of them are trained: assistant messages, unless they have `weight` 0.
`trainer.preferences` reads pairs of answers with the same rules.

A line may be of any length, end with CRLF or be blank; a byte order mark is skipped.
"""

import codecs
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trainer.failures import Param, TrainingFailed, invalid_file
from trainer.messages import Json, Unreadable, for_template, tools_for_template

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Example:
    line: int
    """In the file, from 1."""
    messages: list[Json]
    """As `trainer.messages.for_template` makes them."""
    trained: tuple[int, ...]
    """Indices of the assistant messages that carry loss."""
    tools: list[Json] | None


class InvalidLine(Exception):
    """What is wrong with one line."""


def count_examples(path: Path, param: Param) -> int:
    """Lines that are not blank. Raises TrainingFailed when there is no such file."""
    return sum(1 for _ in _lines(path, param))


def read_examples(path: Path, param: Param) -> Iterator[Example]:
    """One after the other, so that a large file is never in memory as a whole. Raises TrainingFailed with the line's
    number; skips blank lines."""
    return read_lines(path, param, _example)


def read_lines(path: Path, param: Param, parse: Callable[[int, Any], T]) -> Iterator[T]:
    """What `parse` makes of each line that is not blank: it takes the line's number, from 1, and its JSON value, and
    raises InvalidLine. Raises TrainingFailed with the line's number."""
    for number, line in _lines(path, param):
        try:
            yield parse(number, _json(line))
        except InvalidLine as problem:
            raise invalid_file(param, f"Line {number}: {problem}.") from None


def require_enough(examples: int, minimum: int) -> None:
    """OpenAI's refusal, in its words."""
    if examples < minimum:
        message = f"Training file has {examples} example(s), but must have at least {minimum} examples"
        raise TrainingFailed("invalid_n_examples", message, "training_file")


def conversation(messages: Any, *, only_read: bool = False) -> tuple[list[Json], tuple[int, ...]]:
    """OpenAI's messages -> a template's, and which of them are trained: none where they are `only_read`. Raises
    InvalidLine."""
    if not isinstance(messages, list) or not messages:
        raise InvalidLine("an object with a non-empty list of messages is expected")
    trained = tuple(at for at, message in enumerate(messages) if _is_trained(message, at) and not only_read)
    try:
        return for_template(messages, trained), trained
    except Unreadable as problem:
        raise InvalidLine(_complaint(problem)) from None


def tools_of(fields: Json) -> list[Json] | None:
    """None where there are none: templates ask whether `tools` is there. Raises InvalidLine."""
    try:
        return tools_for_template(fields.get("tools"), fields.get("functions"))
    except Unreadable as problem:
        raise InvalidLine(_complaint(problem)) from None


def _lines(path: Path, param: Param) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers from 1."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise invalid_file(param, f"The {param.replace('_', ' ')} is missing.") from None
    with file:
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if text.strip():
                yield number, text


def _json(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidLine(f"not valid JSON ({error})") from None


def _example(number: int, fields: Any) -> Example:
    messages = fields.get("messages") if isinstance(fields, dict) else None
    return Example(number, *conversation(messages), tools_of(fields))


def _is_trained(message: Any, at: int) -> bool:
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    weight = message.get("weight")
    if weight not in (None, 0, 1):
        raise InvalidLine(f"messages[{at}].weight: only 0 and 1 are allowed")
    return weight != 0


def _complaint(problem: Unreadable) -> str:
    if problem.kind == "missing":
        return f"{problem.path} is missing"
    if problem.kind == "unsupported":
        return f"{problem.path}: {problem.reason} cannot be trained on"
    return f"{problem.path}: {problem.reason}"
