"""OpenAI's messages and tools -> what chat templates take. One set of rules for the files that training reads and for
the requests that the embedded engine answers, and the one that vLLM has (0.32: `renderers/chat_utils.py`,
`ChatCompletionRequest`, `FunctionDefinition`): an adapter must see at serving what it saw at training.

What reaches a template
- `role`, `content`, `name`; of an assistant also `tool_calls` and `reasoning` (again as `reasoning_content`, its older
  name, which is read too); of a tool's result `tool_call_id`; of a developer `tools`. Nothing else does: not `weight`,
  and not an assistant's `refusal`, although a `refusal` part is text.
- content as text, or as a list of text parts where it came as one (null is an empty list, for assistants only):
  `trainer/dialect.py` gives each template the form that it reads. A tool's result is always text. Texts are never
  touched: CRLF, NUL and blanks stay. (Half a surrogate pair is no text: JSON decoders refuse it before this.)
- tool calls as {id, function: {arguments, name}, type}, arguments as an object. Nothing ("", null) is {}.
- tools as {type, function: {name, description, parameters}}: null for what is left out, `strict` where it is given.
- Roles may come in any order: whether a conversation needs a user, or may have a system message in its middle, is the
  template's decision.

Where vLLM has no answer
- `functions` and `function_call`, deprecated, are `tools` and `tool_calls`; role `function` is `tool`.

Where training must not do what serving does
- Arguments that are not a JSON object (broken JSON, a list, a JSON string in a JSON string) are {} in what a model reads,
  so that a conversation can go on after a broken call. In an answer that is trained they are refused: the model would
  learn to call without arguments. So is a trained answer with nothing but a `refusal` field: it would learn to say
  nothing.

No torch here, and no transformers.
"""

import json
from collections.abc import Collection
from typing import Any, Literal

Json = dict[str, Any]
Kind = Literal["missing", "invalid", "unsupported"]

ROLES = ("system", "developer", "user", "assistant", "tool", "function")

_TEXT_FIELDS = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
}
"""Type of a content part -> its field that holds the text."""
_CALL_FIELDS = ("id", "type", "function")
_FUNCTION_FIELDS = ("name", "arguments")


class Unreadable(Exception):
    """A message or tool that no template is given. `path` is from the request (or the line) on; `reason` is what is
    wrong with it, or for "unsupported" what it is."""

    def __init__(self, kind: Kind, path: str, reason: str = "") -> None:
        super().__init__(f"{path}: {reason or kind}")
        self.kind: Kind = kind
        self.path = path
        self.reason = reason


def for_template(messages: list[Any], trained: Collection[int] = ()) -> list[Json]:
    """`trained` are the indices of the answers that carry loss. Raises Unreadable."""
    return [_message(message, f"messages[{at}]", at in trained) for at, message in enumerate(messages)]


def text_of(content: str | list[Json]) -> str:
    """The text of a content that `for_template` made; its parts are joined by line ends, empty ones left out."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["text"])


def tools_for_template(tools: Any, functions: Any = None) -> list[Json] | None:
    """None where there are none: templates ask whether `tools` is there. Raises Unreadable."""
    for name, given in (("tools", tools), ("functions", functions)):
        if given is not None and not isinstance(given, list):
            raise Unreadable("invalid", name, "expected a list")
    if tools:
        return [_tool(tool, f"tools[{at}]") for at, tool in enumerate(tools)]
    return [_function(function, f"functions[{at}]") for at, function in enumerate(functions or ())] or None


# ---- Messages


def _message(message: Any, path: str, trained: bool) -> Json:
    if not isinstance(message, dict):
        raise Unreadable("invalid", path, "expected an object")
    role = message.get("role")
    if role is None:
        raise Unreadable("missing", f"{path}.role")
    if role not in ROLES:
        raise Unreadable("invalid", f"{path}.role", f"expected one of {', '.join(ROLES)}")
    written: Json = {"role": "tool" if role == "function" else role, "content": _content(message, path)}
    if role in ("tool", "function"):
        written["content"] = text_of(written["content"])
        written |= _given(message, path, "tool_call_id")
    elif role == "assistant":
        written |= _answer(message, path, trained)
        if trained and message.get("refusal") and not text_of(written["content"]) and "tool_calls" not in written:
            raise Unreadable("invalid", f"{path}.refusal", "put the text of the refusal into `content` to train on it")
    elif role == "developer":
        written["tools"] = message.get("tools")
    return written | _given(message, path, "name")


def _answer(message: Json, path: str, trained: bool) -> Json:
    written: Json = {}
    if calls := _tool_calls(message, path, trained):
        written["tool_calls"] = calls
    reasoning = _given(message, path, "reasoning") or _given(message, path, "reasoning_content")
    for text in reasoning.values():
        written |= {"reasoning": text, "reasoning_content": text}
    return written


def _given(message: Json, path: str, name: str) -> Json:
    """The field as it is, or nothing where it is null."""
    value = message.get(name)
    if value is None:
        return {}
    if not isinstance(value, str):
        raise Unreadable("invalid", f"{path}.{name}", "expected text")
    return {name: value}


def _content(message: Json, path: str) -> str | list[Json]:
    path, content = f"{path}.content", message.get("content")
    if isinstance(content, str):
        return content
    if content is None and message["role"] == "assistant":
        return []
    if content is None:
        raise Unreadable("missing", path)
    if not isinstance(content, list):
        raise Unreadable("invalid", path, "expected text or a list of parts")
    return [{"type": "text", "text": _part_text(part, f"{path}[{at}]")} for at, part in enumerate(content)]


def _part_text(part: Any, path: str) -> str:
    if not isinstance(part, dict):
        raise Unreadable("invalid", path, "expected an object")
    kind = part.get("type")
    if not isinstance(kind, str):
        raise Unreadable("missing", f"{path}.type")
    if kind not in _TEXT_FIELDS:
        raise Unreadable("unsupported", path, f"content parts of type '{kind}'")
    text = part.get(_TEXT_FIELDS[kind])
    if text is None:
        raise Unreadable("missing", f"{path}.{_TEXT_FIELDS[kind]}")
    if not isinstance(text, str):
        raise Unreadable("invalid", f"{path}.{_TEXT_FIELDS[kind]}", "expected text")
    return text


# ---- Tool calls


def _tool_calls(message: Json, path: str, trained: bool) -> list[Json]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise Unreadable("invalid", f"{path}.tool_calls", "expected a list")
    placed = [(call, f"{path}.tool_calls[{at}]") for at, call in enumerate(calls)]
    if legacy := message.get("function_call"):
        placed.insert(0, ({"function": legacy}, path))
    return [_tool_call(call, path, trained) for call, path in placed]


def _tool_call(call: Any, path: str, trained: bool) -> Json:
    """With its fields in the order that vLLM gives them: some templates write a call as it is."""
    if not isinstance(call, dict):
        raise Unreadable("invalid", path, "expected an object")
    if call.get("type", "function") != "function":
        raise Unreadable("unsupported", path, f"tool calls of type '{call['type']}'")
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Unreadable("missing", f"{path}.function.name")
    arguments = _arguments(function.get("arguments"), f"{path}.function.arguments", trained)
    return {
        **({"id": call["id"]} if call.get("id") is not None else {}),
        "function": {"arguments": arguments, "name": function["name"], **_others(function, _FUNCTION_FIELDS)},
        "type": "function",
        **_others(call, _CALL_FIELDS),
    }


def _others(fields: Json, known: Collection[str]) -> Json:
    return {name: value for name, value in fields.items() if name not in known}


def _arguments(written: Any, path: str, trained: bool) -> Json:
    if written is None or (isinstance(written, str) and not written.strip()):
        return {}
    complaint = "it is not a JSON object; write the arguments as one object, encoded once"
    arguments = written
    if isinstance(written, str):
        try:
            arguments = json.loads(written)
        except (ValueError, RecursionError):
            arguments, complaint = None, "it is not valid JSON"
    if isinstance(arguments, dict):
        return _whole_text(arguments, path)
    if trained:
        raise Unreadable("invalid", path, complaint)
    return {}


def _whole_text(arguments: Json, path: str) -> Json:
    """JSON can spell half a surrogate pair, but no tokenizer can read it."""
    try:
        json.dumps(arguments, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unreadable("invalid", path, "it holds half a surrogate pair, which is no text") from None
    return arguments


# ---- Tools


def _tool(tool: Any, path: str) -> Json:
    if not isinstance(tool, dict):
        raise Unreadable("invalid", path, "expected an object")
    if tool.get("type", "function") != "function":
        raise Unreadable("unsupported", path, f"tools of type '{tool['type']}'")
    return _function(tool.get("function"), f"{path}.function")


def _function(function: Any, path: str) -> Json:
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise Unreadable("missing", f"{path}.name")
    parameters = function.get("parameters")
    if parameters is not None and not isinstance(parameters, dict):
        raise Unreadable("invalid", f"{path}.parameters", "expected an object")
    description = _given(function, path, "description").get("description")
    written = {"name": function["name"], "description": description, "parameters": parameters}
    if function.get("strict") is not None:
        written["strict"] = function["strict"]
    return {"type": "function", "function": written}
