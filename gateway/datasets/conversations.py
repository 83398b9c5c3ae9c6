"""Conversations as people keep them (ShareGPT's from/value, OpenAI's role/content) -> OpenAI's messages."""

from typing import Any

import msgspec

from gateway.datasets.columns import plain, turns_of
from gateway.datasets.messages import KEYS

Json = dict[str, Any]

ROLES = {
    "human": "user", "user": "user", "prompter": "user",
    "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant", "bot": "assistant", "bing": "assistant",
    "model": "assistant", "ai": "assistant",
    "system": "system", "developer": "developer",
    "function_call": "call", "tool_call": "call", "function-call": "call",
    "observation": "result", "tool": "result", "function_response": "result", "function-response": "result",
    "tool_response": "result", "function": "result",
}  # fmt: skip


class Unconvertible(Exception):
    """Why a row is skipped."""


def messages_of(value: Any) -> list[Json]:
    """All turns of one conversation. Raises Unconvertible."""
    turns = turns_of(value)
    if turns is None:
        raise Unconvertible("has no conversation: a list of turns with `from` and `value`, or `role` and `content`")
    return _Turns().convert(turns)


def answer_of(value: Any) -> list[Json]:
    """The messages of an answer, however it is written: a text, one turn, or a conversation that ends with it."""
    if (turns := turns_of(value)) is not None:
        return _Turns().convert(turns)
    if isinstance(value, dict):
        return _Turns().convert([value])
    text = plain(value)
    return [{"role": "assistant", "content": text}] if text.strip() else []


def tools_of(value: Any) -> list[Json] | None:
    """Function definitions, bare or in OpenAI's frame, also as JSON text. Raises Unconvertible."""
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            raise Unconvertible("has tools that are not valid JSON") from None
    if not value:
        return None
    if not isinstance(value, list) or not all(isinstance(tool, dict) for tool in value):
        raise Unconvertible("has tools that are not a list of objects")
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in value]


class _Turns:
    """Calls get ids, and results the ids of the calls that they answer, in their order."""

    def __init__(self) -> None:
        self._calls = 0
        self._open: list[str] = []

    def convert(self, turns: list[Any]) -> list[Json]:
        return [message for number, turn in enumerate(turns, start=1) for message in self._turn(number, turn)]

    def _turn(self, number: int, turn: Any) -> list[Json]:
        if not isinstance(turn, dict):
            raise Unconvertible(f"turn {number} is not an object")
        role = ROLES.get(str(turn.get("role") or turn.get("from") or "").strip().lower())
        if role is None:
            raise Unconvertible(
                f"turn {number} is from '{str(turn.get('role') or turn.get('from'))[:40]}', which is no known role"
            )
        if "role" in turn and "value" not in turn and role != "call":
            return [self._as_it_is(role, turn)]
        content = next((turn[name] for name in ("value", "content", "text") if turn.get(name) is not None), None)
        if role == "call":
            return [self._call(number, content)]
        if role == "result":
            return [self._result(number, plain(content))]
        message: Json = {"role": role, "content": plain(content)}
        if role == "assistant" and turn.get("weight") is not None:
            message["weight"] = turn["weight"]
        return [message]

    def _as_it_is(self, role: str, turn: Json) -> Json:
        """OpenAI's own message: unknown keys go, arguments that were encoded twice are decoded once."""
        message = {name: value for name, value in turn.items() if name in KEYS and value is not None}
        message["role"] = role if role != "result" else "function" if turn["role"] == "function" else "tool"
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            message["tool_calls"] = [self._known_call(call) for call in calls]
        if message["role"] == "tool" and "tool_call_id" not in message and self._open:
            message["tool_call_id"] = self._open.pop(0)
        return message

    def _known_call(self, call: Any) -> Any:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            return call
        self._calls += 1
        identity = call.get("id") or f"call_{self._calls}"
        self._open.append(identity)
        called = {"name": function.get("name"), "arguments": _arguments(function.get("arguments"))}
        return {"id": identity, "type": "function", "function": called}

    def _call(self, number: int, content: Any) -> Json:
        try:
            calls = msgspec.json.decode(content) if isinstance(content, str) else content
        except (msgspec.DecodeError, RecursionError):
            raise Unconvertible(f"turn {number} is a call that is not valid JSON") from None
        calls = calls if isinstance(calls, list) else [calls]
        if not calls or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in calls):
            raise Unconvertible(f"turn {number} is a call without the name of a function")
        made = [self._known_call({"function": call}) for call in calls]
        return {"role": "assistant", "tool_calls": made}

    def _result(self, number: int, text: str) -> Json:
        if not self._open:
            raise Unconvertible(f"turn {number} is a result, and nothing was called before")
        return {"role": "tool", "tool_call_id": self._open.pop(0), "content": text}


def _arguments(arguments: Any) -> str:
    """As JSON text of an object, encoded once."""
    for _ in range(2):
        if not isinstance(arguments, str) or not arguments.strip():
            break
        try:
            arguments = msgspec.json.decode(arguments)
        except (msgspec.DecodeError, RecursionError):
            return str(arguments)
    return msgspec.json.encode(arguments or {}).decode()
