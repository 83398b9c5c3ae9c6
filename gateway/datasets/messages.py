"""The rules of messages, told one by one: every problem, with its place and what to do.

Where OpenAI's own rule is known it is the same (contract section 3 and the schemas of July 2025); `trainer/data.py` takes
whatever passes here.
"""

from typing import Any

import msgspec

from gateway.datasets.examples import ROLES
from gateway.datasets.found import Found, join, kind_of, quote

Json = dict[str, Any]

KEYS = frozenset({
    "role", "content", "weight", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio", "annotations",
    "reasoning", "reasoning_content",
})  # fmt: skip
CALL_KEYS = frozenset({"id", "type", "function"})
FUNCTION_KEYS = frozenset({"name", "arguments"})
PART_KEYS = frozenset({"type", "text", "refusal"})


def check_messages(path: str, messages: Any, found: Found, *, weighted: bool) -> None:
    """All rules of one conversation. `weighted`: messages may say whether they are learnt, as in chats."""
    if not found.expect(path, messages, list, 'a list such as [{"role": "user", "content": "..."}, ...]'):
        return
    if not messages:
        found.add(path, "is empty", "Write at least one message.")
    called: set[str] = set()
    for index, message in enumerate(messages):
        _check_message(f"{path}[{index}]", message, found, called, weighted=weighted)


def _check_message(path: str, message: Any, found: Found, called: set[str], *, weighted: bool) -> None:
    if not found.expect(path, message, dict, 'an object such as {"role": "user", "content": "..."}'):
        return
    _check_extras(path, message, found)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        what = "is missing" if role is None else f"unknown role '{quote(role)}'"
        found.add(join(path, "role"), what, f"Write one of {', '.join(ROLES)}.")
        return
    _check_weight(path, role, message, found, weighted=weighted)
    _check_content(join(path, "content"), message, found)
    if role == "assistant":
        _check_calls(path, message, found, called)
        if message.get("tool_call_id") is not None:
            found.add(join(path, "tool_call_id"), "belongs to role tool", "Remove this key.")
    else:
        _check_no_calls(path, role, message, found)
        _check_answers(path, role, message, found, called)


def _check_extras(path: str, message: Json, found: Found) -> None:
    found.refuse_unknown(path, message, KEYS)
    for name in ("refusal", "audio"):
        if message.get(name) is not None:
            fix = "Move the text to `content`." if name == "refusal" else "Remove this key; only text is trained on."
            found.add(join(path, name), "is not trained on", fix)
    for name, kind in (("name", str), ("reasoning", str), ("reasoning_content", str), ("annotations", list)):
        if message.get(name) is not None:
            found.expect(join(path, name), message[name], kind, "it as text" if kind is str else "a list, or remove it")


def _check_weight(path: str, role: str, message: Json, found: Found, *, weighted: bool) -> None:
    weight, path = message.get("weight"), join(path, "weight")
    if weight is None:
        return
    if not weighted:
        found.add(path, 'contains an extra "weight"', "Remove it: preference examples are learnt as a whole.")
    elif role != "assistant":
        found.add(path, f"role {role} has a weight, which only assistant messages may have", "Remove this key.")
    elif isinstance(weight, bool) or not isinstance(weight, int) or weight not in (0, 1):
        found.add(path, f"weight is {quote(weight)}", "Write 0 (do not learn this answer) or 1 (learn it).")


def _check_content(path: str, message: Json, found: Found) -> None:
    content, role = message.get("content"), message["role"]
    if content is None:
        if role != "assistant":
            found.add(path, f"is missing (role {role})", 'Write the text, or "" if there is none.')
        elif not message.get("tool_calls") and not message.get("function_call"):
            found.add(path, "neither `content` nor `tool_calls` is there", "Write what the assistant answers.")
    elif isinstance(content, list):
        if not content:
            found.add(path, "is an empty list", 'Write the text, or "" if there is none.')
        for index, part in enumerate(content):
            _check_part(f"{path}[{index}]", part, found)
    elif not isinstance(content, str):
        found.add(path, f"expected text or a list of parts, got {kind_of(content)}", "Write it as a string.")


def _check_part(path: str, part: Any, found: Found) -> None:
    if not found.expect(path, part, dict, 'a part such as {"type": "text", "text": "..."}'):
        return
    kind = part.get("type")
    if kind not in ("text", "refusal"):
        what = f"part of type '{quote(kind)}'" if kind is not None else "part without a type"
        found.add(join(path, "type"), f"{what}: images and audio cannot be trained on here", "Keep text parts only.")
        return
    found.refuse_unknown(path, part, PART_KEYS)
    other = "refusal" if kind == "text" else "text"
    for name in (kind, other):
        if name == kind or part.get(name) is not None:
            found.expect(join(path, name), part.get(name), str, "the text here")


def _check_calls(path: str, message: Json, found: Found, called: set[str]) -> None:
    calls = message.get("tool_calls")
    if calls is not None and found.expect(join(path, "tool_calls"), calls, list, "a list of calls"):
        for index, call in enumerate(calls):
            _check_call(f"{path}.tool_calls[{index}]", call, found, called)
    function = message.get("function_call")
    if function is not None:
        name = _check_function(join(path, "function_call"), function, found)
        called.add(f"function {name}")


def _check_call(path: str, call: Any, found: Found, called: set[str]) -> None:
    if not found.expect(path, call, dict, 'a call such as {"id": "...", "type": "function", "function": {...}}'):
        return
    found.refuse_unknown(path, call, CALL_KEYS)
    if found.expect(join(path, "id"), call.get("id"), str, "an id that the tool message repeats"):
        called.add(call["id"])
    if call.get("type") != "function":
        found.add(join(path, "type"), f"is {quote(call.get('type'))}", 'Write "function".')
    _check_function(join(path, "function"), call.get("function"), found)


def _check_function(path: str, function: Any, found: Found) -> str | None:
    """-> the function's name."""
    if not found.expect(path, function, dict, '{"name": "...", "arguments": "{...}"}'):
        return None
    found.refuse_unknown(path, function, FUNCTION_KEYS)
    name = function.get("name")
    if not isinstance(name, str) or not name:
        found.add(join(path, "name"), "is missing", "Write the name of the function that is called.")
        name = None
    _check_arguments(join(path, "arguments"), function.get("arguments"), found)
    return name


def _check_arguments(path: str, arguments: Any, found: Found) -> None:
    """OpenAI writes them as JSON text of one object; templates write that object."""
    if isinstance(arguments, dict | list):
        found.add(path, f"expected JSON text, got {kind_of(arguments)}", 'Encode it: "{\\"city\\": \\"Bern\\"}".')
        return
    if not found.expect(path, arguments, str, "the arguments as JSON text of an object") or not arguments:
        return
    try:
        value = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        found.add(path, f"is not valid JSON: {quote(arguments)}", "Write the arguments as JSON text of an object.")
        return
    if isinstance(value, str):
        found.add(path, "is JSON text of a JSON text: it was encoded twice", "Encode the arguments once.")
    elif not isinstance(value, dict):
        found.add(path, f"is JSON text of {kind_of(value)}", "Write the arguments as JSON text of an object.")


def _check_no_calls(path: str, role: str, message: Json, found: Found) -> None:
    for name in ("tool_calls", "function_call"):
        if message.get(name) is not None:
            found.add(join(path, name), f"role {role} cannot call tools", "Remove this key, or write role assistant.")


def _check_answers(path: str, role: str, message: Json, found: Found, called: set[str]) -> None:
    """A result answers a call that an assistant message before it made."""
    place, answered = join(path, "tool_call_id"), message.get("tool_call_id")
    if role == "tool":
        if not isinstance(answered, str):
            found.add(place, "is missing", "Write the id of the tool call that this message answers.")
        elif answered not in called:
            message_of_it = f"no assistant message before has a tool call with id '{quote(answered)}'"
            found.add(place, message_of_it, "Add the call, or remove this result.")
        return
    if answered is not None:
        found.add(place, "belongs to role tool", "Remove this key.")
    if role == "function" and f"function {message.get('name')}" not in called:
        fix = "Name the function of a `function_call` before it, or remove this result."
        found.add(join(path, "name"), f"no assistant message before calls '{quote(message.get('name'))}'", fix)
