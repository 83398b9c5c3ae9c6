"""One line of a training file, typed: the quick way to be certain that a line is good.

`decode_chat` and `decode_preference` refuse what the types forbid; `is_sound_*` checks what types cannot say. A line that
passes both is good. One that does not is looked at again, slowly, by gateway/datasets/problems.py, which has the last word.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
ROLES: tuple[Role, ...] = ("system", "developer", "user", "assistant", "tool", "function")


class Part(msgspec.Struct, forbid_unknown_fields=True):
    type: Literal["text", "refusal"]
    text: str | None = None
    refusal: str | None = None

    @property
    def written(self) -> str | None:
        return self.text if self.type == "text" else self.refusal


class Function(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    arguments: str


class ToolCall(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    type: Literal["function"]
    function: Function


class Message(msgspec.Struct, forbid_unknown_fields=True):
    role: Role
    content: str | list[Part] | None = None
    weight: Literal[0, 1] | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    tool_call_id: str | None = None
    name: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    annotations: list[Any] | None = None
    refusal: None = None
    audio: None = None

    @property
    def text(self) -> str:
        """As the trainer joins it."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.written for part in self.content or () if part.written)

    @property
    def is_trained(self) -> bool:
        return self.role == "assistant" and self.weight != 0


class Definition(msgspec.Struct):
    """A function that may be called. Whatever else it says is the template's business."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    type: Literal["function"]
    function: Definition


class Chat(msgspec.Struct, forbid_unknown_fields=True):
    """A line of the supervised method's file."""

    messages: list[Message]
    tools: list[Tool] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Definition] | None = None


class Prompt(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[Message]
    tools: list[Tool] | None = None
    parallel_tool_calls: bool | None = None


class Preference(msgspec.Struct, forbid_unknown_fields=True):
    """A line of the dpo method's file. OpenAI named the outputs completions once; both spellings are taken."""

    input: Prompt
    preferred_output: list[Message] | None = None
    non_preferred_output: list[Message] | None = None
    preferred_completion: list[Message] | None = None
    non_preferred_completion: list[Message] | None = None

    @property
    def preferred(self) -> Message:
        return (self.preferred_output or self.preferred_completion or [])[0]

    @property
    def non_preferred(self) -> Message:
        return (self.non_preferred_output or self.non_preferred_completion or [])[0]


Example = Chat | Preference

decode_chat = msgspec.json.Decoder(Chat).decode
decode_preference = msgspec.json.Decoder(Preference).decode
decode_arguments = msgspec.json.Decoder(dict[str, Any]).decode


def is_sound_chat(chat: Chat) -> bool:
    """Certainly nothing wrong; False is not yet a verdict."""
    return _are_sound(chat.messages) and any(message.is_trained for message in chat.messages)


def is_sound_preference(pair: Preference) -> bool:
    messages = pair.input.messages
    if not messages or messages[-1].role == "assistant" or not _are_sound(messages):
        return False
    spelling = (pair.preferred_output, pair.non_preferred_output)
    other = (pair.preferred_completion, pair.non_preferred_completion)
    outputs = spelling if other == (None, None) else other if spelling == (None, None) else (None, None)
    return all(_is_sound_output(output) for output in outputs) and _is_unweighted(messages)


def message_count(example: Example) -> int:
    return len(example.messages) if isinstance(example, Chat) else len(example.input.messages) + 2


def _are_sound(messages: Sequence[Message]) -> bool:
    called: set[str] = set()
    for message in messages:
        role = message.role
        if role == "assistant":
            if not _is_sound_answer(message, called):
                return False
        elif role == "tool" or role == "function":
            if not _is_sound_result(message, called):
                return False
        elif not _is_sound_prompt(message):
            return False
    return True


def _is_sound_prompt(message: Message) -> bool:
    return (
        message.content is not None
        and message.weight is None
        and message.tool_calls is None
        and message.function_call is None
        and message.tool_call_id is None
        and _is_sound_text(message.content)
    )


def _is_sound_answer(message: Message, called: set[str]) -> bool:
    if message.tool_call_id is not None or not _is_sound_text(message.content):
        return False
    if message.tool_calls or message.function_call:
        functions = [call.function for call in message.tool_calls or ()]
        called.update(call.id for call in message.tool_calls or ())
        if message.function_call:
            functions.append(message.function_call)
            called.add(f"function {message.function_call.name}")
        return all(_is_sound_call(function) for function in functions)
    return message.content is not None


def _is_sound_result(message: Message, called: set[str]) -> bool:
    answers = message.tool_call_id if message.role == "tool" else f"function {message.name}"
    return (
        answers in called
        and message.content is not None
        and message.weight is None
        and message.tool_calls is None
        and message.function_call is None
        and (message.role == "tool" or message.tool_call_id is None)
        and _is_sound_text(message.content)
    )


def _is_sound_text(content: str | list[Part] | None) -> bool:
    return not isinstance(content, list) or bool(content and all(part.written is not None for part in content))


def _is_sound_call(function: Function) -> bool:
    if not function.name:
        return False
    try:
        decode_arguments(function.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_sound_output(output: list[Message] | None) -> bool:
    if output is None or len(output) != 1:
        return False
    return output[0].role == "assistant" and output[0].weight is None and _is_sound_answer(output[0], set())


def _is_unweighted(messages: Sequence[Message]) -> bool:
    return all(message.weight is None for message in messages)
