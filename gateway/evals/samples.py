"""Answers: as graders see them, and as an output item shows them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from gateway.evals.storable import storable
from gateway.protocol.evals import Sampling
from judges.sample import Sample
from judges.subject import text_of

DEFAULT_SEED = 42
"""OpenAI's."""
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class NoAnswer(Exception):
    """A reply that is no chat completion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer to one item."""

    sample: Sample
    messages: Sequence[dict[str, Any]] = ()
    """That were asked."""
    finish_reason: str = ""
    model: str = ""
    """Under the name that it gave itself."""
    usage: tuple[int, int, int] = (0, 0, 0)
    """Prompt, completion, and what of the prompt was cached."""
    log_probabilities: tuple[float, ...] | None = None
    """Of the tokens of the answer, where the model told them."""
    took_ms: float | None = None
    """The call, to its last byte; None of an answer that was there."""


def of_completion(
    body: bytes, messages: Sequence[dict[str, Any]], usage: tuple[int, int, int], took_ms: float | None = None
) -> Answered:
    """The first choice of a chat completion. Raises NoAnswer."""
    try:
        completion: Any = _decode(body)
        choice: dict[str, Any] = completion["choices"][0]
        message: dict[str, Any] = choice["message"]
        text = text_of(message)
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        raise NoAnswer("The reply is not a chat completion with a choice in it.") from None
    kept = {name: value for name, value in choice.items() if name != "logprobs"}
    return Answered(
        sample=_sample(text, kept),
        messages=messages,
        finish_reason=str(choice.get("finish_reason") or ""),
        model=str(completion.get("model") or ""),
        usage=usage,
        log_probabilities=_log_probabilities(choice.get("logprobs")),
        took_ms=took_ms,
    )


def of_given(raw: dict[str, Any]) -> Answered:
    """An answer that came with the data: `output_text`, or the choices of a chat completion."""
    choices = cast("list[Any]", raw["choices"]) if isinstance(raw.get("choices"), list) else []
    choice: dict[str, Any] = choices[0] if choices and isinstance(choices[0], dict) else {}
    message: dict[str, Any] = choice["message"] if isinstance(choice.get("message"), dict) else {}
    text = raw["output_text"] if isinstance(raw.get("output_text"), str) else text_of(message)
    if not message:
        message = {"role": "assistant", "content": text}
        if isinstance(raw.get("output_tools"), list):
            message["tool_calls"] = raw["output_tools"]
        choice = {"index": 0, "message": message, "finish_reason": str(choice.get("finish_reason") or "stop")}
    sample = _sample(text, choice)
    if "output_json" in raw:
        sample = Sample(text, raw["output_json"], sample.output_tools, sample.choices)
    messages = [each for each in raw.get("input") or [] if isinstance(each, dict)]
    return Answered(
        sample=sample,
        messages=messages,
        finish_reason=str(choice.get("finish_reason") or ""),
        model=str(raw.get("model") or ""),
    )


def shown(answered: Answered | None, params: Sampling | None, seed: int, error: dict[str, str] | None = None) -> Any:
    """The `sample` of an output item (contract section 6). openai-python knows no null in it: a number that was left out is
    OpenAI's default, or 0 for a number of tokens without a bound."""
    params = params or Sampling()
    prompt, completion, cached = answered.usage if answered else (0, 0, 0)
    return storable(
        {
            "input": [_line(each) for each in (answered.messages if answered else ())],
            "output": [_output(each) for each in (answered.sample.choices if answered else ())],
            "finish_reason": answered.finish_reason if answered else "",
            "model": answered.model if answered else "",
            "usage": {
                "total_tokens": prompt + completion,
                "completion_tokens": completion,
                "prompt_tokens": prompt,
                "cached_tokens": cached,
            },
            "error": error or {"code": "", "message": ""},
            "temperature": 1.0 if params.temperature is None else params.temperature,
            "max_completion_tokens": params.max_completion_tokens or 0,
            "top_p": 1.0 if params.top_p is None else params.top_p,
            "seed": seed,
        }
    )


def _sample(text: str, choice: dict[str, Any]) -> Sample:
    plain = Sample.of_text(text)
    tools = choice["message"].get("tool_calls")
    return Sample(text, plain.output_json, cast("list[Any]", tools) if isinstance(tools, list) else [], [choice])


def _line(message: dict[str, Any]) -> dict[str, str]:
    content = message.get("content")
    text = content if isinstance(content, str) else "" if content is None else _encode(content).decode()
    return {"role": str(message.get("role") or ""), "content": text}


def _output(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice["message"]
    calls = {"tool_calls": message["tool_calls"]} if message.get("tool_calls") else {}
    refusal = {"refusal": message["refusal"]} if message.get("refusal") else {}
    return {"role": str(message.get("role") or "assistant"), "content": text_of(message), **calls, **refusal}


def _log_probabilities(raw: Any) -> tuple[float, ...] | None:
    """None when one is missing: a perplexity of half of an answer is none."""
    tokens: Any = raw.get("content") if isinstance(raw, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return None
    found = [each.get("logprob") if isinstance(each, dict) else None for each in cast("list[Any]", tokens)]
    if any(not isinstance(each, int | float) or not each <= 0 for each in found):
        return None
    return tuple(found)  # type: ignore[arg-type]
