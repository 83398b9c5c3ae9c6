"""What a model is asked for one item: the chat completion of a run's data source."""

import re
from typing import Any, cast

from gateway.evals.samples import DEFAULT_SEED
from gateway.protocol.evals import CompletionsSource, ItemReference, ResponsesSource, Template
from judges.grade import GraderFailed
from judges.sample import Item, Sample
from judges.templates import look_up, render
from judges.templates import problems as template_problems

NOTHING = Sample("")
ROLES = ("user", "assistant", "system", "developer", "tool")
TEXTS = ("text", "input_text", "output_text")
_reference = re.compile(r"item(?:\.[\w-]+|\[\d+\])+")
_sample = re.compile(r"\{\{\s*sample\b")

Asking = CompletionsSource | ResponsesSource


class CannotAsk(Exception):
    """There is nothing to ask for this item; the message is a sentence."""


def problems(source: Asking) -> list[tuple[str, str]]:
    """What would fail for every item: path below the data source, and what is wrong."""
    wanted = source.input_messages
    if isinstance(wanted, ItemReference):
        if _reference.fullmatch(wanted.item_reference.strip()):
            return []
        return [("input_messages.item_reference", "expected the path of a list of messages, as in item.input")]
    found: list[tuple[str, str]] = []
    for number, message in enumerate(wanted.template if wanted else ()):
        found += _message_problems(message, f"input_messages.template[{number}]")
    return found


def body(source: Asking, item: Item, repeat: int, *, log_probabilities: bool) -> dict[str, Any]:
    """The body of POST /chat/completions. Raises CannotAsk."""
    params = source.sampling_params
    asked: dict[str, Any] = {"model": source.model, "messages": _messages(source.input_messages, item)}
    for name in ("reasoning_effort", "temperature", "max_completion_tokens", "top_p", "response_format"):
        if params and (value := getattr(params, name)) is not None:
            asked[name] = value
    if params and params.text and params.text.format:
        asked["response_format"] = _response_format(params.text.format)
    if params and params.tools:
        asked["tools"] = [_tool(each) for each in params.tools]
    asked["seed"] = seed_of(source, repeat)
    return asked | ({"logprobs": True} if log_probabilities else {})


def seed_of(source: Asking, repeat: int) -> int:
    """Every repeat has its own: with one seed for all, a server that keeps to it would answer the same k times."""
    params = source.sampling_params
    return (DEFAULT_SEED if params is None or params.seed is None else params.seed) + repeat


def _messages(wanted: Template | ItemReference | None, item: Item) -> list[dict[str, Any]]:
    try:
        if isinstance(wanted, Template):
            return [_rendered(message, item) for message in wanted.template]
        path = wanted.item_reference.strip() if wanted else "item.input"
        found = look_up(path, NOTHING, item)
    except GraderFailed as error:
        raise CannotAsk(f"The messages cannot be made: {error}.") from None
    messages = cast("list[Any]", found) if isinstance(found, list) else []
    if not messages or not all(isinstance(each, dict) and each.get("role") in ROLES for each in messages):
        raise CannotAsk(f"`{path}` of the item is not a list of messages, each with a role and content.")
    return [_passed_on(each) for each in messages]


def _rendered(message: dict[str, Any], item: Item) -> dict[str, Any]:
    return {"role": message["role"], "content": _content(message["content"], item)}


def _content(content: Any, item: Item) -> Any:
    """Text as one string, which every server takes; with pictures or sound in it, parts."""
    raw = cast("list[Any]", content) if isinstance(content, list) else [content]
    parts = [_part(each, item) for each in raw]
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts


def _part(part: Any, item: Item) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": render(part, NOTHING, item).text}
    if part["type"] in TEXTS:
        return {"type": "text", "text": render(part["text"], NOTHING, item).text}
    if part["type"] == "input_image":
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": render(part["image_url"], NOTHING, item).text, **detail}}
    return {"type": "input_audio", "input_audio": part["input_audio"]}


def _passed_on(message: dict[str, Any]) -> dict[str, Any]:
    """A message of the data: as it is, but for the names that the Responses API has for parts."""
    content = message.get("content")
    if isinstance(content, list):
        content = [_known_part(each) for each in cast("list[Any]", content)]
    return {name: value for name, value in message.items() if name not in ("type", "content")} | {"content": content}


def _known_part(part: Any) -> Any:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in TEXTS:
        return {"type": "text", "text": part.get("text")}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return {"type": "image_url", "image_url": {"url": part["image_url"]}}
    return part


def _response_format(format: dict[str, Any]) -> dict[str, Any]:
    """`text.format` of the Responses API has the schema's fields beside `type`."""
    if format.get("type") != "json_schema":
        return format
    return {"type": "json_schema", "json_schema": {name: value for name, value in format.items() if name != "type"}}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A function's fields stand beside `type` in the Responses API, and below `function` in chats."""
    if tool.get("type") == "function" and "function" not in tool:
        return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}
    return tool


def _message_problems(message: dict[str, Any], path: str) -> list[tuple[str, str]]:
    if message.get("role") not in ROLES[:-1]:
        return [(f"{path}.role", f"expected one of {', '.join(ROLES[:-1])}")]
    content = message.get("content")
    listed = isinstance(content, list)
    found: list[tuple[str, str]] = []
    for number, part in enumerate(cast("list[Any]", content) if listed else [content]):
        found += _part_problems(part, f"{path}.content[{number}]" if listed else f"{path}.content")
    return found


def _part_problems(part: Any, path: str) -> list[tuple[str, str]]:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, str):
        text = part
    elif kind in TEXTS and isinstance(part.get("text"), str):
        text = part["text"]
    elif kind == "input_image" and isinstance(part.get("image_url"), str):
        text = part["image_url"]
    elif kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return []
    else:
        return [(path, "expected a text, or a part of type input_text, output_text, input_image or input_audio")]
    if _sample.search(text):
        return [(path, "there is no sample yet when the model is asked; use {{ item.name }}")]
    return [(path, problem) for problem in template_problems(text)[:1]]
