"""Lines of OpenAI's training files as other trainers' files have them. Pure: a line in, rows out.

| format | rows of an SFT line | a row of a pair |
|---|---|---|
| trl | `prompt`, `completion`, `tools`: one for each answer that is learnt | `prompt`, `chosen`, `rejected`, `tools` |
| sharegpt | `conversations`, `tools` | `conversations`, `chosen`, `rejected`, `tools` |
| alpaca | `system`, `instruction`, `input`, `output`, `history`: one for each answer that is learnt | `chosen`, `rejected` for `output` |
| parquet | as OpenAI's, `tools` as JSON | as OpenAI's, `tools` as JSON |
| csv | `question`, `answer` to read; `messages`, `tools` as JSON | `question`, `messages`, `chosen`, `rejected`, `tools` |
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gateway.protocol.dataset_versions import ExportFormat

Json = dict[str, Any]

SYSTEM_ROLES = ("system", "developer")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection)."""


class Unrepresentable(Exception):
    """The format has no place for what the line holds."""


def rows_of(line: Json, format: ExportFormat) -> list[Json]:
    """Raises Unrepresentable."""
    return list(_SHAPES[format](line))


def is_pair(line: Json) -> bool:
    return "input" in line


def _trl(line: Json) -> Iterator[Json]:
    """Conversational; https://huggingface.co/docs/trl/dataset_formats."""
    more = {"tools": tools} if (tools := _tools(line)) else {}
    if is_pair(line):
        chosen, rejected = ([_trl_message(each) for each in answer] for answer in _answers(line))
        prompt = [_trl_message(each) for each in line["input"]["messages"]]
        yield {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}
        return
    messages = [_trl_message(each) for each in line["messages"]]
    for place in _learnt(line["messages"]):
        yield {"prompt": messages[:place], "completion": [messages[place]], **more}


def _trl_message(message: Json) -> Json:
    """Chat templates take arguments as objects, and `system` alone."""
    kept: Json = {"role": "system" if message["role"] == "developer" else message["role"], "content": _text(message)}
    if message.get("name"):
        kept["name"] = message["name"]
    if calls := _calls(message):
        kept["tool_calls"] = [
            {"type": "function", "function": {"name": call["name"], "arguments": _object(call["arguments"])}}
            for call in calls
        ]
    return kept


def _sharegpt(line: Json) -> Iterator[Json]:
    """As LLaMA-Factory reads it: calls and their results are turns of their own."""
    more = {"tools": json.dumps(tools, ensure_ascii=False)} if (tools := _tools(line)) else {}
    if not is_pair(line):
        yield {"conversations": _turns(line["messages"]), **more}
        return
    chosen, rejected = (_turns(answer) for answer in _answers(line))
    if len(chosen) != 1 or len(rejected) != 1:
        raise Unrepresentable
    yield {"conversations": _turns(line["input"]["messages"]), "chosen": chosen[0], "rejected": rejected[0], **more}


_SPEAKERS = {
    "system": "system", "developer": "system", "user": "human", "assistant": "gpt", "tool": "observation",
    "function": "observation",
}  # fmt: skip


def _turns(messages: Sequence[Json]) -> list[Json]:
    turns: list[Json] = []
    for message in messages:
        calls, text = _calls(message), _text(message)
        if text or not calls:
            turn: Json = {"from": _SPEAKERS[message["role"]], "value": text}
            turns.append(turn | ({"weight": message["weight"]} if "weight" in message else {}))
        if calls:
            called = [{"name": call["name"], "arguments": _object(call["arguments"])} for call in calls]
            value = json.dumps(called if len(called) > 1 else called[0], ensure_ascii=False)
            turns.append({"from": "function_call", "value": value})
    return turns


def _alpaca(line: Json) -> Iterator[Json]:
    """Texts alone: no tools, and users and assistants in turns."""
    if _tools(line):
        raise Unrepresentable
    if is_pair(line):
        chosen, rejected = _answers(line)
        row = _instruction(line["input"]["messages"])
        yield {**row, "chosen": _only_text(chosen[-1]), "rejected": _only_text(rejected[-1])}
        return
    messages = line["messages"]
    for place in _learnt(messages):
        yield {**_instruction(messages[:place]), "output": _only_text(messages[place])}


def _instruction(messages: Sequence[Json]) -> Json:
    """What comes before an answer. Raises Unrepresentable."""
    system = "\n\n".join(_only_text(each) for each in messages if each["role"] in SYSTEM_ROLES)
    turns = [each for each in messages if each["role"] not in SYSTEM_ROLES]
    roles = [each["role"] for each in turns]
    if roles != ["user", "assistant"] * (len(turns) // 2) + ["user"]:
        raise Unrepresentable
    texts = [_only_text(each) for each in turns]
    history = [list(pair) for pair in zip(texts[:-1:2], texts[1::2], strict=True)]
    return {"system": system, "instruction": texts[-1], "input": "", "history": history}


def _parquet(line: Json) -> Iterator[Json]:
    """Columns are the same in every row; readers drop what is null."""
    source = line["input"] if is_pair(line) else line
    tools = json.dumps(found, ensure_ascii=False) if (found := _tools(line)) else None
    held = {"messages": [_columns(each) for each in source["messages"]], "tools": tools}
    if not is_pair(line):
        yield held
        return
    chosen, rejected = ([_columns(each) for each in answer] for answer in _answers(line))
    yield {"input": held, "preferred_output": chosen, "non_preferred_output": rejected}


def _columns(message: Json) -> Json:
    calls = [{"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
             for call in _calls(message)]  # fmt: skip
    text = None if calls and not message.get("content") else _text(message)
    names = ("name", "tool_call_id", "weight")
    return {
        "role": message["role"],
        "content": text,
        **{name: message.get(name) for name in names},
        "tool_calls": calls or None,
    }


def _csv(line: Json) -> Iterator[Json]:
    """Texts that people read come first; what a machine reads back is JSON, which no spreadsheet runs as a formula."""
    tools = json.dumps(found, ensure_ascii=False) if (found := _tools(line)) else ""
    messages = line["input"]["messages"] if is_pair(line) else line["messages"]
    asked = next((_text(each) for each in reversed(messages) if each["role"] == "user"), "")
    row: Json = {"question": _harmless(asked)}
    if is_pair(line):
        chosen, rejected = (_cell(answer) for answer in _answers(line))
        yield row | {"messages": _written(messages), "chosen": chosen, "rejected": rejected, "tools": tools}
        return
    yield row | {"answer": _harmless(_text(messages[-1])), "messages": _written(messages), "tools": tools}


def _cell(answer: Sequence[Json]) -> str:
    """An answer as text; as JSON where it is more than that, or could be taken for something else."""
    message = answer[-1]
    text = _text(message)
    is_plain = message.keys() <= {"role", "content"} and text.strip() and not text.lstrip().startswith("[")
    return text if is_plain and not text.startswith(FORMULA) else _written(answer)


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _written(messages: Sequence[Json]) -> str:
    return json.dumps(messages, ensure_ascii=False)


def _learnt(messages: Sequence[Json]) -> list[int]:
    """Places of the answers that are learnt."""
    return [
        place
        for place, message in enumerate(messages)
        if message["role"] == "assistant" and message.get("weight", 1) != 0
    ]


def _answers(line: Json) -> tuple[list[Json], list[Json]]:
    chosen = line.get("preferred_output") or line["preferred_completion"]
    return chosen, line.get("non_preferred_output") or line["non_preferred_completion"]


def _tools(line: Json) -> list[Json]:
    """In OpenAI's frame; `functions` are what tools were before 2023-11."""
    source = line["input"] if is_pair(line) else line
    framed = [{"type": "function", "function": each} for each in source.get("functions") or ()]
    return source.get("tools") or framed


def _calls(message: Json) -> list[Json]:
    calls = [{"id": call.get("id"), **call["function"]} for call in message.get("tool_calls") or ()]
    if not calls and message.get("function_call"):
        calls = [{"id": None, **message["function_call"]}]
    return calls


def _text(message: Json) -> str:
    content = message.get("content")
    if isinstance(content, list):
        return "\n".join(part.get("text") or part.get("refusal") or "" for part in content)
    return content or ""


def _only_text(message: Json) -> str:
    """Raises Unrepresentable."""
    if _calls(message) or message["role"] in ("tool", "function"):
        raise Unrepresentable
    return _text(message)


def _object(arguments: str) -> Any:
    """What a call's arguments say; the text itself where it is no JSON."""
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError, TypeError):
        return arguments


_SHAPES: dict[ExportFormat, Callable[[Json], Iterator[Json]]] = {
    "openai": lambda line: iter((line,)),
    "trl": _trl,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "parquet": _parquet,
    "csv": _csv,
}
