"""The slow look at one line: every problem of it. Lines that gateway/datasets/examples.py is certain about never get here."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from gateway.datasets.examples import Chat, Example, Preference
from gateway.datasets.found import Found, kind_of, quote
from gateway.datasets.lines import BOM, MAX_LINE
from gateway.datasets.messages import check_messages
from gateway.protocol.datasets import Format

Json = dict[str, Any]
AnyFormat = Format | Literal["completions"]

CHAT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
PROMPT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls"})
PREFERRED = ("preferred_output", "preferred_completion")
NON_PREFERRED = ("non_preferred_output", "non_preferred_completion")
PAIR_KEYS = frozenset({"input", *PREFERRED, *NON_PREFERRED})
NAMES: dict[AnyFormat, str] = {
    "chat": "chat format",
    "preference": "preference format",
    "completions": "prompt/completion format",
}
EXPECTED: dict[Format, str] = {
    "chat": 'Write {"messages": [{"role": "user", ...}, {"role": "assistant", ...}]}',
    "preference": 'Write {"input": {"messages": [...]}, "preferred_output": [...], "non_preferred_output": [...]}',
}


def examine(raw: bytes, wanted: Format, found: Found) -> Example | None:
    """Find what is wrong with a line. The example, if that is nothing."""
    try:
        return _examine(raw, wanted, found)
    except RecursionError:
        found.add("", "line contains invalid JSON: it is nested too deeply", "Write one flat example.")
        return None


def _examine(raw: bytes, wanted: Format, found: Found) -> Example | None:
    value = _decode(raw, found)
    if found.count:
        return None
    if not isinstance(value, dict):
        hint = " or turn a JSON array into lines with POST /v1/datasets/import" if isinstance(value, list) else ""
        found.add("", f"expected a JSON object, got {kind_of(value)}", f"{EXPECTED[wanted]}{hint}.")
        return None
    for path, name in _repeated(raw):
        found.add(path, f"key `{name}` appears twice, and readers of JSON keep only the last", "Remove one of them.")
    actual = format_of(value)
    if actual is not None and actual != wanted:
        found.add("", f"the line is in the {NAMES[actual]}, not in the {NAMES[wanted]}", f"{EXPECTED[wanted]}.")
    elif wanted == "chat":
        _check_chat(value, found)
    else:
        _check_preference(value, found)
    return None if found.count else _typed(value, wanted)


def format_of(value: Any) -> AnyFormat | None:
    """Which kind of training example an object means to be."""
    if not isinstance(value, dict):
        return None
    if any(name in value for name in (*PREFERRED, *NON_PREFERRED)):
        return "preference"
    if "messages" in value:
        return "chat"
    return "completions" if "prompt" in value and "completion" in value else None


def _decode(raw: bytes, found: Found) -> Any:
    if len(raw) > MAX_LINE:
        found.add("", f"the line is longer than {MAX_LINE // 1024**2} MB", "Write one JSON object on each line.")
        return None
    try:
        return msgspec.json.decode(raw)
    except UnicodeDecodeError:
        found.add("", "the line is not in UTF-8", "Save the file with that encoding.")
    except msgspec.DecodeError as error:
        found.add("", *_bad_json(raw, error))
    return None


def _bad_json(raw: bytes, error: msgspec.DecodeError) -> tuple[str, str]:
    if raw.startswith(BOM):
        return "line begins with a byte order mark", "Remove it; it comes from files that were joined."
    if b"\x00" in raw:
        return "line contains invalid JSON: a NUL byte", "Remove it, or save the file as UTF-8 if it is in UTF-16."
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return f"line contains invalid JSON: {error}", "Write one JSON object on each line."
    # What Python reads and msgspec, here and in the trainer, does not.
    if b"\\ud" in raw.lower():
        return "line contains half of a surrogate pair (\\ud...)", "Remove it; text was cut within an emoji."
    return f"line contains invalid JSON: {error}", "NaN and Infinity are no JSON; write null or text."


def _check_chat(value: Json, found: Found) -> None:
    found.refuse_unknown("", value, CHAT_KEYS)
    if "messages" not in value:
        found.add("messages", "is missing", f"{EXPECTED['chat']}.")
        return
    check_messages("messages", value["messages"], found, weighted=True)
    _check_options("", value, found)
    functions = value.get("functions")
    if functions is not None and found.expect("functions", functions, list, "a list of functions"):
        for index, function in enumerate(functions):
            _check_definition(f"functions[{index}]", function, found)
    messages = value["messages"] if isinstance(value["messages"], list) else []
    if messages and not any(_may_be_learnt(message) for message in messages):
        what = "there is no assistant message to learn from (all are missing or have weight 0)"
        found.add("messages", what, "Add the answer that the model should give.")


def _may_be_learnt(message: Any) -> bool:
    """Also what is broken in another way: that is told already."""
    if not isinstance(message, dict) or message.get("role") not in ("system", "developer", "user", "tool", "function"):
        return not (isinstance(message, dict) and message.get("role") == "assistant" and message.get("weight") == 0)
    return False


def _check_preference(value: Json, found: Found) -> None:
    found.refuse_unknown("", value, PAIR_KEYS)
    for name in PROMPT_KEYS & {name for name, given in value.items() if given is None}:
        found.add(name, "belongs inside `input`", "Remove this key.")
    prompt = value.get("input")
    if found.expect("input", prompt, dict, '{"messages": [...]}') and isinstance(prompt, dict):
        found.refuse_unknown("input", prompt, PROMPT_KEYS)
        messages = prompt.get("messages")
        check_messages("input.messages", messages, found, weighted=False)
        _check_options("input", prompt, found)
        if isinstance(messages, list) and messages and _role(messages[-1]) == "assistant":
            path = f"input.messages[{len(messages) - 1}]"
            found.add(path, "the input ends with an assistant message", "End it with what is to be answered.")
    both = [name for name in (*PREFERRED, *NON_PREFERRED) if value.get(name) is not None]
    if len({name.removeprefix("non_") for name in both}) > 1:
        found.add("", "mixes preferred_output and preferred_completion", "Use one spelling for both answers.")
    for names in (PREFERRED, NON_PREFERRED):
        _check_output(value, names, found)


def _check_output(value: Json, names: tuple[str, str], found: Found) -> None:
    name = next((each for each in names if value.get(each) is not None), None)
    if name is None:
        found.add(names[0], "is missing", 'Write [{"role": "assistant", "content": "..."}].')
        return
    output = value[name]
    check_messages(name, output, found, weighted=False)
    if isinstance(output, list) and (len(output) > 1 or (output and _role(output[0]) not in ("assistant", None))):
        found.add(name, "is not one assistant message", "Write exactly one message of role assistant.")


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None


def _check_options(path: str, fields: Json, found: Found) -> None:
    before = f"{path}." if path else ""
    tools = fields.get("tools")
    if tools is not None and found.expect(f"{before}tools", tools, list, "a list of tools"):
        for index, tool in enumerate(tools):
            _check_tool(f"{before}tools[{index}]", tool, found)
    if fields.get("parallel_tool_calls") is not None:
        found.expect(f"{before}parallel_tool_calls", fields["parallel_tool_calls"], bool, "true or false")


def _check_tool(path: str, tool: Any, found: Found) -> None:
    if not found.expect(path, tool, dict, '{"type": "function", "function": {...}}'):
        return
    if tool.get("type") != "function":
        found.add(f"{path}.type", f"is {quote(tool.get('type'))}", 'Write "function".')
    _check_definition(f"{path}.function", tool.get("function"), found)


def _check_definition(path: str, function: Any, found: Found) -> None:
    if not found.expect(path, function, dict, '{"name": "...", "description": "...", "parameters": {...}}'):
        return
    found.expect(f"{path}.name", function.get("name"), str, "the name of the function")
    for name, kind, what in (("description", str, "text"), ("parameters", dict, "a JSON Schema")):
        if function.get(name) is not None:
            found.expect(f"{path}.{name}", function[name], kind, what)


def _typed(value: Json, wanted: Format) -> Example:
    """Unknown keys are null here, and may go."""
    return msgspec.convert(_without_nulls(value), Chat if wanted == "chat" else Preference)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


class _Marked(dict[str, Any]):
    """An object of the line that remembers its repeated keys."""

    repeated: tuple[str, ...] = ()


def _marked(pairs: list[tuple[str, Any]]) -> _Marked:
    fields = _Marked(pairs)
    if len(fields) < len(pairs):
        fields.repeated = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return fields


def _repeated(raw: bytes) -> Iterator[tuple[str, str]]:
    """Path and name of keys that one object has twice."""
    try:
        value = json.loads(raw, object_pairs_hook=_marked)
    except (ValueError, RecursionError):  # deeper than Python reads, though not than msgspec does
        return
    stack: list[tuple[str, Any]] = [("", value)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, _Marked):
            yield from ((path, quote(name)) for name in value.repeated)
            stack += [(f"{path}.{quote(name)}" if path else quote(name), each) for name, each in value.items()]
        elif isinstance(value, list):
            stack += [(f"{path}[{index}]", each) for index, each in enumerate(value)]
