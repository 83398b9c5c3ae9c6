"""A conversation as Anthropic takes it: a system prompt, then turns of user and assistant.

- System and developer messages, wherever they stand, are put together in front, in order: the rule of Anthropic's own
  OpenAI-compatible endpoint (platform.claude.com/docs/en/cli-sdks-libraries/libraries/openai-sdk). Messages with the
  role `system` further down exist there too, but only newer models take them.
- Messages of the same side that follow each other become one turn. Results of tools come first in theirs, as Anthropic
  demands (platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls).
- Messages without any content are left out: Anthropic refuses empty ones.
- A conversation begins and ends with the user there. Where it does not, a turn of the user is put in (OPENING,
  CONTINUE); where there is nothing but a system prompt, that becomes the user's turn.
"""

import re
from dataclasses import dataclass, field

import msgspec

from gateway.errors import InvalidRequest
from gateway.upstreams.anthropic.blocks import Block, blocks_of, text_blocks, text_only
from gateway.upstreams.anthropic.chat import (
    AssistantMessage,
    DeveloperMessage,
    FunctionCall,
    FunctionMessage,
    Message,
    SystemMessage,
    ToolMessage,
    UserMessage,
)

OPENING = "(The conversation begins with your message.)"
CONTINUE = "Continue."
_not_in_ids = re.compile(r"[^a-zA-Z0-9_-]")
_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass
class Conversation:
    """Messages taken in so far."""

    system: list[Block] = field(default_factory=list[Block])
    turns: list[Block] = field(default_factory=list[Block])
    """`{"role": "user" | "assistant", "content": [blocks]}`, in turn."""
    called: dict[str, int] = field(default_factory=dict[str, int])
    """Names of the tools that were called, and the place of their last call among all calls."""
    calls: int = 0

    def take(self, message: Message, param: str) -> None:
        """One more message; raises InvalidRequest for what Anthropic does not take."""
        match message:
            case SystemMessage() | DeveloperMessage():
                self.system += text_only(message.content, f"{param}.content")
            case UserMessage():
                self._add("user", blocks_of(message.content, f"{param}.content"))
            case AssistantMessage():
                self._add("assistant", self._said(message, param))
            case ToolMessage():
                result = _result(message.tool_call_id, blocks_of(message.content, f"{param}.content"))
                self._add("user", [result])
            case FunctionMessage():
                self._add("user", [_result(self._latest(message.name), text_blocks(message.content))])

    def end(self) -> None:
        """Make it begin and end with the user. Raises InvalidRequest if it is empty."""
        if not self.turns:
            if not self.system:
                raise InvalidRequest("Invalid 'messages': none of them has any content.", param="messages")
            self._add("user", self.system)
            self.system = []
        if self.turns[0]["role"] == "assistant":
            self.turns.insert(0, {"role": "user", "content": text_blocks(OPENING)})
        if self.turns[-1]["role"] == "assistant":
            self._add("user", text_blocks(CONTINUE))
        for turn in self.turns:
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")

    def _said(self, message: AssistantMessage, param: str) -> list[Block]:
        """Thoughts, then text, then calls: the order in which a model writes them."""
        blocks: list[Block] = [msgspec.to_builtins(block) for block in message.thinking_blocks or ()]
        blocks += text_only(message.content, f"{param}.content") or text_blocks(message.refusal)
        for index, call in enumerate(message.tool_calls or ()):
            place = f"{param}.tool_calls[{index}]"
            if call.function is None:
                raise InvalidRequest(
                    f"Invalid '{place}': Anthropic has calls of functions only.", param=place, code="unsupported_value"
                )
            blocks.append(self._call(call.id, call.function, f"{place}.function.arguments"))
        if message.function_call:
            id = _function_id(self.calls, message.function_call.name)
            blocks.append(self._call(id, message.function_call, f"{param}.function_call.arguments"))
        return blocks

    def _call(self, id: str, function: FunctionCall, param: str) -> Block:
        self.called[function.name] = self.calls
        self.calls += 1
        return {"type": "tool_use", "id": _id(id), "name": function.name, "input": _input(function.arguments, param)}

    def _latest(self, name: str) -> str:
        """Id of the last call of a function: the form before tools has none."""
        return _function_id(self.called.get(name, 0), name)

    def _add(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if self.turns and self.turns[-1]["role"] == role:
            self.turns[-1]["content"] += blocks
        else:
            self.turns.append({"role": role, "content": list(blocks)})


def conversation_of(messages: list[Message]) -> Conversation:
    """A whole conversation. Raises InvalidRequest; `param` says in which message."""
    conversation = Conversation()
    for index, message in enumerate(messages):
        conversation.take(message, f"messages[{index}]")
    conversation.end()
    return conversation


def _result(id: str, blocks: list[Block]) -> Block:
    """`content` may be left out, but not be empty text."""
    return {"type": "tool_result", "tool_use_id": _id(id)} | ({"content": blocks} if blocks else {})


def _id(id: str) -> str:
    """Anthropic's ids match ^[a-zA-Z0-9_-]+$; another model's may not, and a call and its result change alike."""
    return _not_in_ids.sub("_", id) or "_"


def _function_id(place: int, name: str) -> str:
    return f"call_{place}_{name}"


def _input(arguments: str, param: str) -> dict[str, msgspec.Raw]:
    """Arguments are JSON in a string at OpenAI and an object at Anthropic; numbers and order survive."""
    try:
        return _decode_object(arguments.strip() or "{}")
    except (ValueError, RecursionError):
        raise InvalidRequest(
            f"Invalid '{param}': Anthropic takes a tool's arguments as a JSON object, and this is not one.", param=param
        ) from None
