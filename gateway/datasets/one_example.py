"""What one good example of a training file is like: its texts, what is wrong with it, and a score. Light: gateways show rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from gateway.datasets.examples import Chat, Example, Message
from gateway.datasets.texts import has, is_damaged, script_of
from gateway.datasets.tokens import CHARACTERS_A_TOKEN

FAULTS = {
    "missing_values": (40, "an empty question or answer"),
    "encoding": (20, "damaged characters"),
    "language_mismatch": (20, "answers in another script"),
    "no_user": (20, "no user message"),
    "unanswered_calls": (20, "a tool call without its result"),
    "same_answers": (40, "both answers are the same"),
    "trailing": (5, "does not end with an answer"),
}
"""Mark -> points off, and what is said."""
SHORT_INPUT, LONG_OUTPUT = 10, 1000
"""Tokens, about; 10 points each."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One example as quality sees it."""

    given: str
    learnt: str
    messages: int
    marks: tuple[str, ...]
    """Of FAULTS; `Quality.marks` counts them."""
    roles: tuple[str, ...]
    has_tools: bool
    at_once: float = 1.0
    """Share of the text that is in the model's context at a time: of a pair, the longer answer only."""


def see(raw: bytes, example: Example) -> Seen:
    """A good example, from `raw`, the bytes of its line; nothing is counted."""
    if isinstance(example, Chat):
        given = [_written(message) for message in example.messages if not message.is_trained]
        learnt = [_written(message) for message in example.messages if message.is_trained]
        messages = example.messages
    else:
        messages = [*example.input.messages, example.preferred, example.non_preferred]
        given = [_written(message) for message in example.input.messages]
        learnt = [_written(example.preferred), _written(example.non_preferred)]
    given += _tools_written(example)
    asked, answer = "\n".join(given), "\n".join(learnt)
    marks = [*_conversation_marks(example), *_text_marks(asked, answer, escaped=b"\\u00" in raw)]
    longest = len(answer) if isinstance(example, Chat) else max(map(len, learnt))
    return Seen(
        given=asked,
        learnt=answer,
        messages=len(messages),
        marks=tuple(marks),
        roles=tuple(message.role for message in messages),
        has_tools=_has_tools(example),
        at_once=(len(asked) + longest) / max(len(asked) + len(answer), 1),
    )


def _written(message: Message) -> str:
    """What of a message becomes tokens."""
    content, thought = message.content, message.reasoning or message.reasoning_content
    if not message.tool_calls and not message.function_call and not thought:
        return content if isinstance(content, str) else message.text
    calls = [call.function for call in message.tool_calls or ()]
    if message.function_call:
        calls.append(message.function_call)
    called = (f"{call.name} {call.arguments}" for call in calls)
    return "\n".join(filter(None, [thought, message.text, *called]))


def _has_tools(example: Example) -> bool:
    if isinstance(example, Chat):
        return bool(example.tools or example.functions)
    return bool(example.input.tools)


def _tools_written(example: Example) -> list[str]:
    """Definitions of tools are part of what the model reads; about as JSON, in most templates."""
    if not _has_tools(example):
        return []
    tools = (example.tools or example.functions) if isinstance(example, Chat) else example.input.tools
    return [msgspec.json.encode(tools).decode()]


def _conversation_marks(example: Example) -> Iterator[str]:
    messages = example.messages if isinstance(example, Chat) else example.input.messages
    if not any(message.role == "user" for message in messages):
        yield "no_user"
    if isinstance(example, Chat):
        if messages[-1].role != "assistant":
            yield "trailing"
        if _leaves_calls_unanswered(messages):
            yield "unanswered_calls"
        said = [message for message in messages if message.role == "user" or message.is_trained]
    else:
        said = [*messages[-1:], example.preferred, example.non_preferred]
        if _written(example.preferred) == _written(example.non_preferred):
            yield "same_answers"
    if any(not _written(message).strip() for message in said):
        yield "missing_values"


def _leaves_calls_unanswered(messages: Sequence[Message]) -> bool:
    """Calls that the conversation goes on after without their results. Calls at its end are what is learnt."""
    open_calls: set[str] = set()
    for message in messages:
        if message.role == "tool":
            open_calls.discard(message.tool_call_id or "")
        elif open_calls:
            return True
        elif message.tool_calls:
            open_calls = {call.id for call in message.tool_calls}
    return False


def _text_marks(given: str, learnt: str, *, escaped: bool) -> Iterator[str]:
    """`escaped`: the line may hold control characters, which JSON writes as \\u00.."""
    if is_damaged(given, look_for_control=escaped) or is_damaged(learnt, look_for_control=escaped):
        yield "encoding"
    if given.isascii() and learnt.isascii():
        return
    asked, answered = script_of(given), script_of(learnt)
    if asked and answered and asked != answered and not has(learnt, asked):
        yield "language_mismatch"


def graded(seen: Seen) -> tuple[int, str]:
    """0 to 100, and why it is not 100."""
    faults = [FAULTS[mark] for mark in seen.marks if mark in FAULTS]
    if len(seen.given) < SHORT_INPUT * CHARACTERS_A_TOKEN:
        faults.append((10, "a short input"))
    if len(seen.learnt) > LONG_OUTPUT * CHARACTERS_A_TOKEN:
        faults.append((10, "a long answer"))
    return max(0, 100 - sum(points for points, _ in faults)), ", ".join(what for _, what in faults) or "good"
