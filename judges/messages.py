"""The messages that a grading model gets."""

from typing import Any, cast

from judges.graders import EvalItem
from judges.sample import Item, Sample
from judges.templates import MAX_INSERTED, Rendered, render

TEXT_PARTS = ("input_text", "output_text")
OTHER_PARTS = {"input_image": "images", "input_audio": "audio"}


def parts(content: Any, path: str) -> list[tuple[str, str]]:
    """Path and text of each text in a message's content.

    Raises:
        ValueError: (path, message) of the first part that is no text.
    """
    if isinstance(content, str):
        return [(path, content)]
    if isinstance(content, list):
        many = cast("list[Any]", content)
        return [text for number, each in enumerate(many) for text in _part(each, f"{path}[{number}]")]
    return _part(content, path)


def rendered(items: list[EvalItem], sample: Sample, item: Item) -> tuple[list[dict[str, Any]], list[str]]:
    """Chat messages with the values in place, and those values. Raises GraderFailed (judges/templates.py)."""
    messages: list[dict[str, Any]] = []
    values: list[str] = []
    room = MAX_INSERTED
    for each in items:
        texts: list[Rendered] = []
        for _, text in parts(each.content, "content"):
            texts.append(render(text, sample, item, room=room))
            values += texts[-1].values
            room -= sum(map(len, texts[-1].values))
        messages.append({"role": each.role, "content": _joined(texts)})
    return messages, values


def _joined(texts: list[Rendered]) -> str:
    """One text: not every server takes a list of parts."""
    return "\n\n".join(text.text for text in texts)


def _part(content: Any, path: str) -> list[tuple[str, str]]:
    if isinstance(content, str):
        return [(path, content)]
    fields: dict[str, Any] = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    kind = fields.get("type")
    if isinstance(kind, str) and kind in OTHER_PARTS:
        raise ValueError(path, f"{OTHER_PARTS[kind]} cannot be graded here: use text, `input_text` or `output_text`")
    if kind not in TEXT_PARTS or not isinstance(fields.get("text"), str):
        raise ValueError(path, 'expected a text, or {"type": "input_text" or "output_text", "text": "..."}')
    return [(f"{path}.text", fields["text"])]
