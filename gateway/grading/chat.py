"""A grader's question as a chat completion, and the completion as its answer."""

from typing import Any

import msgspec

from gateway.errors import UpstreamRefused
from judges.ask import Answer, AskFailed, Question
from judges.grade import Tokens

_STRUCTURE_WORDS = ("response_format", "json_schema", "structured", "guided")
_encode = msgspec.json.Encoder().encode


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    model: str | None = None


_decode = msgspec.json.Decoder(_Completion).decode


def request_body(question: Question, *, structured: bool) -> bytes:
    """The body of POST /chat/completions.

    Args:
        structured: hold the model to the question's schema. Not every server can.
    """
    body: dict[str, Any] = {"model": question.model, "messages": question.messages, **question.sampling}
    if structured:
        schema = {"name": "grade", "strict": True, "schema": question.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return _encode(body)


def answer(body: bytes, question: Question, tokens: Tokens) -> Answer:
    """What the model said. Raises AskFailed when the reply is no chat completion."""
    try:
        completion = _decode(body)
    except (ValueError, RecursionError):
        raise AskFailed(f"the reply of `{question.model}` is not a chat completion") from None
    if not completion.choices:
        raise AskFailed(f"the reply of `{question.model}` has no choice in it")
    choice = completion.choices[0]
    return Answer(
        text=choice.message.content or "",
        refusal=choice.message.refusal,
        finish_reason=choice.finish_reason,
        model=completion.model or question.model,
        tokens=tokens,
    )


def is_about_structure(refusal: UpstreamRefused) -> bool:
    """Whether an upstream refused because it cannot hold a model to a schema."""
    return speaks_of_structure(f"{refusal} {refusal.param}")


def speaks_of_structure(said: str) -> bool:
    """The same of what a refusal said."""
    return any(word in said.lower() for word in _STRUCTURE_WORDS)
