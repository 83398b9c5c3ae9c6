"""The JSON body that a stream would have been without `stream: true`, for the log. Runs when the spool is drained."""

from collections.abc import Iterator
from typing import Any

import msgspec

_json = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode

OBJECTS: dict[Any, Any] = {"chat.completion.chunk": "chat.completion", "text_completion": "text_completion"}


def assemble(events: bytes) -> bytes:
    """One body from the events of a chat or text completion stream (contract section 1, "Chunks").

    A stream that was cut gives what had arrived, its finish_reason null.
    """
    body: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for chunk in payloads(events):
        if not isinstance(chunk.get("choices"), list):
            continue
        _take_top(body, chunk)
        for part in chunk["choices"]:
            _take_choice(choices.setdefault(part.get("index", 0), {"index": part.get("index", 0)}), part)
    body["choices"] = [choices[index] for index in sorted(choices)]
    return _encode(body)


def reply_text(events: bytes) -> str:
    """All generated text and tool arguments of a stream, for an estimate of its tokens."""
    texts: list[str] = []
    for choice in _json.decode(assemble(events)).get("choices", []):
        message = choice.get("message") or {}
        texts += [str(message.get("content") or ""), str(choice.get("text") or "")]
        texts += [str(call.get("function", {}).get("arguments") or "") for call in message.get("tool_calls", [])]
    return "".join(texts)


def payloads(events: bytes) -> Iterator[dict[str, Any]]:
    """The JSON object of each `data:` line that holds one."""
    for line in events.splitlines():
        if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
            continue
        try:
            chunk = _json.decode(line[5:])
        except (ValueError, RecursionError):
            continue
        if isinstance(chunk, dict):
            yield chunk


def _take_top(body: dict[str, Any], chunk: dict[str, Any]) -> None:
    for name, value in chunk.items():
        if name == "choices" or (value is None and name in body):
            continue
        body[name] = OBJECTS.get(value, value) if name == "object" else value


def _take_choice(choice: dict[str, Any], part: dict[str, Any]) -> None:
    if "text" in part:
        choice["text"] = choice.get("text", "") + (part["text"] or "")
    if isinstance(part.get("delta"), dict):
        empty = {"role": "assistant", "content": None, "refusal": None}
        _take_delta(choice.setdefault("message", empty), part["delta"])
    choice.setdefault("logprobs", None)
    choice["finish_reason"] = part.get("finish_reason") or choice.get("finish_reason")
    if isinstance(part.get("logprobs"), dict):
        _take_logprobs(choice, part["logprobs"])


def _take_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        if name == "tool_calls":
            for part in value or []:
                _take_tool_call(message.setdefault("tool_calls", []), part)
        elif isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif value is not None or name not in message:
            message[name] = value


def _take_tool_call(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    index = part.get("index", len(calls))
    while len(calls) <= index:
        calls.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[index]
    call["id"] = part.get("id") or call["id"]
    function = part.get("function") or {}
    call["function"]["name"] += function.get("name") or ""
    call["function"]["arguments"] += function.get("arguments") or ""


def _take_logprobs(choice: dict[str, Any], logprobs: dict[str, Any]) -> None:
    kept = choice["logprobs"] = choice["logprobs"] or {}
    for name, value in logprobs.items():
        if isinstance(value, list):
            kept[name] = (kept.get(name) or []) + value
        else:
            kept.setdefault(name, value)
