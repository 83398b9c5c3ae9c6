"""A reply whose answer is withheld: in OpenAI's form, with finish_reason `content_filter` and a refusal in its place."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, cast

import msgspec

from gateway.errors import Withheld
from gateway.exchanges.assemble import payloads

FILTERED = "content_filter"
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


def body(reply: bytes, choices: Collection[int], refusal: Withheld) -> bytes:
    """A whole reply without those choices; its id, model and usage stay. Args: reply: an object with choices."""
    read = _decode(reply)
    for place, choice in enumerate(cast("list[Any]", read["choices"])):
        if choice.get("index", place) in choices:
            choice |= {"finish_reason": FILTERED, "logprobs": None} | _instead(choice, str(refusal))
    return _encode(read)


def _instead(choice: dict[str, Any], why: str) -> dict[str, Any]:
    if "message" not in choice:
        return {"text": ""}
    return {"message": {"role": "assistant", "content": "", "refusal": why}}


def frames(held: Sequence[bytes], refusal: Withheld | None) -> Iterable[bytes]:
    """A stream that was held back: as it came, or, where it is withheld, what says so, and its usage."""
    return _refused(held, str(refusal)) if refusal else held


def _refused(held: Sequence[bytes], why: str) -> Iterator[bytes]:
    """All choices together: which pieces belong to which of them is not worth telling apart."""
    chunks = list(payloads(b"\n".join(held)))
    indices = sorted({_index(choice) for chunk in chunks for choice in _choices(chunk)})
    head = {name: value for name, value in (chunks[0] if chunks else {}).items() if name not in ("choices", "usage")}
    is_chat = head.get("object") != "text_completion"
    for index in indices:
        for piece in _chat(why) if is_chat else _text():
            yield _frame(head | {"choices": [{"index": index, "logprobs": None} | piece]})
    for chunk in chunks:
        if not _choices(chunk) and chunk.get("usage"):
            yield _frame(chunk)


def _chat(why: str) -> list[dict[str, Any]]:
    return [
        {"delta": {"role": "assistant", "content": "", "refusal": why}, "finish_reason": None},
        {"delta": {}, "finish_reason": FILTERED},
    ]


def _text() -> list[dict[str, Any]]:
    return [{"text": "", "finish_reason": FILTERED}]


def _choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    found: Any = chunk.get("choices")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _index(choice: dict[str, Any]) -> int:
    index = choice.get("index", 0)
    return index if isinstance(index, int) else 0


def _frame(chunk: dict[str, Any]) -> bytes:
    return b"data: " + _encode(chunk) + b"\n\n"
