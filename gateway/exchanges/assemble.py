"""The JSON body that a stream would have been without `stream: true`, for the log. Runs when the spool is drained.

An upstream may send anything: what does not have the expected form is left out, and never an exception. Pieces of text are
gathered and joined once, so that a token costs the same however many came before it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from gateway.exchanges.text_run import Pieces, TextRun

_json = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode

OBJECTS = {"chat.completion.chunk": "chat.completion"}
KINDS_OF_CALL = {"function": ("name", "arguments"), "custom": ("name", "input")}
"""Of tools -> what comes in pieces."""


def assemble(events: bytes) -> bytes:
    """One body from the events of a chat or text completion stream (contract section 1, "Chunks").

    A stream that was cut gives what had arrived, its finish_reason null.
    """
    return _encode(_body(events))


def reply_text(events: bytes) -> str:
    """All generated text, thoughts and tool arguments of a stream, for an estimate of its tokens."""
    return _generated(_body(events)["choices"])


def answer_text(reply: bytes) -> str:
    """As `reply_text`, of a whole reply; all of one that cannot be read."""
    try:
        choices = _json.decode(reply)["choices"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return reply.decode(errors="replace")
    return _generated([each for each in choices if _is_object(each)] if isinstance(choices, list) else [])


def _generated(choices: list[dict[str, Any]]) -> str:
    texts: list[str] = []
    for choice in choices:
        texts.append(_text(choice.get("text")))
        message: Any = choice.get("message")
        for name, value in message.items() if _is_object(message) else ():
            if name == "tool_calls" and isinstance(value, list):
                texts += [text for call in value for text in _arguments(call)]
            elif name == "function_call":
                texts += _arguments({"function": value})
            elif name != "role":
                texts.append(_text(value))
    return "".join(texts)


def _arguments(call: Any) -> list[str]:
    """What a model wrote of a call of a tool, of whatever type."""
    said = [call[name] for name in KINDS_OF_CALL if _is_object(call) and _is_object(call.get(name))]
    return [_text(each.get(name)) for each in said for name in ("arguments", "input")]


def payloads(events: bytes) -> Iterator[dict[str, Any]]:
    """The JSON object of each `data:` line that holds one."""
    for line in events.splitlines():
        if (chunk := _object(line)) is not None:
            yield chunk


def _object(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
        return None
    try:
        chunk = _json.decode(line[5:])
    except (ValueError, RecursionError):
        return None
    return chunk if isinstance(chunk, dict) else None


def _body(events: bytes) -> dict[str, Any]:
    body: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    run = TextRun()
    for line in events.splitlines():
        if not line or run.take(line) or (chunk := _object(line)) is None:
            continue
        run.end(body)
        parts = chunk.get("choices")
        if isinstance(parts, list):
            _take_top(body, chunk)
            for part in filter(_is_object, parts):
                index = _index(part)
                _take_choice(choices.setdefault(index, {"index": index}), part)
                if len(parts) == 1:
                    run.begin(line, part, choices[index].get("message", {}))
    run.end(body)
    body["choices"] = [_finished(choices[index]) for index in sorted(choices)]
    return body


def _take_top(body: dict[str, Any], chunk: dict[str, Any]) -> None:
    for name, value in chunk.items():
        if name == "choices" or (value is None and name in body):
            continue
        body[name] = OBJECTS.get(value, value) if name == "object" and isinstance(value, str) else value


def _take_choice(choice: dict[str, Any], part: dict[str, Any]) -> None:
    if "text" in part:
        choice.setdefault("text", Pieces()).append(_text(part["text"]))
    if _is_object(part.get("delta")):
        message = choice.setdefault("message", {"role": "assistant", "content": None, "refusal": None})
        _take_delta(message, part["delta"])
    choice.setdefault("logprobs", None)
    choice["finish_reason"] = part.get("finish_reason") or choice.get("finish_reason")
    if _is_object(part.get("logprobs")):
        _take_logprobs(choice, part["logprobs"])


def _take_delta(message: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        known = message.get(name)
        if name == "tool_calls":
            calls = message.setdefault(name, {})
            for part in filter(_is_object, value if isinstance(value, list) else []):
                _take_tool_call(calls, part)
        elif name == "function_call" and isinstance(value, dict):  # the form before tool_calls
            if not isinstance(known, dict):
                message[name] = known = {}
            _take_pieces(known, value, KINDS_OF_CALL["function"])
        elif isinstance(value, str) and name != "role" and (known is None or isinstance(known, Pieces)):
            if known is None:
                message[name] = known = Pieces()
            known.append(value)
        elif isinstance(known, list) and isinstance(value, list) and not isinstance(known, Pieces):
            known.extend(value)
        elif known is None:
            message[name] = value


def _take_tool_call(calls: dict[int, dict[str, Any]], part: dict[str, Any]) -> None:
    call = calls.setdefault(_index(part, len(calls)), {"id": None, "type": "function"})
    for name, value in part.items():
        if name in KINDS_OF_CALL and _is_object(value):
            _take_pieces(call.setdefault(name, {}), value, KINDS_OF_CALL[name])
        elif name not in ("index", *KINDS_OF_CALL) and value:  # its id, its type, and what providers want back with it
            call[name] = value


def _take_pieces(known: dict[str, Any], part: dict[str, Any], names: Sequence[str]) -> None:
    for name in names:
        known.setdefault(name, Pieces()).append(_text(part.get(name)))


def _take_logprobs(choice: dict[str, Any], logprobs: dict[str, Any]) -> None:
    kept: dict[str, Any] = choice["logprobs"] or {}
    for name, value in logprobs.items():
        known = kept.get(name)
        if isinstance(known, list) and isinstance(value, list):
            known.extend(value)
        else:
            kept[name] = known or value
    choice["logprobs"] = kept


def _finished(choice: dict[str, Any]) -> dict[str, Any]:
    """Pieces become texts, and tool calls, gathered by index, the list that OpenAI has."""
    message: dict[str, Any] = choice.get("message", {})
    calls = message.pop("tool_calls", {})
    for call in calls.values():
        if call["type"] == "function" and not (call.keys() & KINDS_OF_CALL.keys()):
            call["function"] = dict.fromkeys(KINDS_OF_CALL["function"], "")
        for kind in call.keys() & KINDS_OF_CALL.keys():
            _join(call[kind])
    if isinstance(function := message.get("function_call"), dict):
        _join(function)
    for texts in (choice, message):
        _join(texts)
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return choice


def _join(texts: dict[str, Any]) -> None:
    for name, value in texts.items():
        if isinstance(value, Pieces):
            texts[name] = "".join(value)


def _index(part: dict[str, Any], default: int = 0) -> int:
    index = part.get("index")
    return index if isinstance(index, int) else default


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
