"""POST /v1/chat/completions -> POST /v1/messages (anthropic.types.MessageCreateParams)."""

import hashlib
import re
from typing import Any

import msgspec

from gateway.errors import InvalidJson, InvalidRequest
from gateway.protocol.decode import decode
from gateway.upstreams.anthropic.chat import ChatRequest, ResponseFormat, decoder
from gateway.upstreams.anthropic.schemas import accepted
from gateway.upstreams.anthropic.tools import tool_fields
from gateway.upstreams.anthropic.turns import conversation_of

DEFAULT_MAX_TOKENS = 32_000
"""Anthropic demands `max_tokens`; OpenAI has the model's own maximum when it is left out. Every model of the 4.5
generation and later takes twice as many; the limit on output tokens a minute counts what is written, not what is asked."""

EFFORTS = {
    "none": "low",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
"""OpenAI's reasoning_effort -> output_config.effort (anthropic.types.OutputConfigParam)."""

JSON_INSTRUCTION = "Answer with one JSON object and nothing else: no text around it, no code fence."
"""For `response_format: json_object`: structured outputs need a schema, and many models refuse a forced tool."""

_opaque = re.compile(r"[a-zA-Z0-9_-]{1,256}")
_encode = msgspec.json.Encoder().encode


def messages_request(body: bytes, served_name: str | None) -> bytes:
    """Anthropic's request for OpenAI's.

    Args:
        served_name: the model's name there, if it is not the one that was called.

    Raises:
        InvalidRequest: a field is wrong, or Anthropic cannot do what it asks; `param` names it.
    """
    request = decode(decoder, body)
    refuse_what_cannot_be_done(request)
    try:
        return _encode(_fields(request, served_name))
    except RecursionError:
        raise InvalidJson("A JSON Schema of your request is nested too deeply.") from None


def _fields(request: ChatRequest, served_name: str | None) -> dict[str, Any]:
    conversation = conversation_of(request.messages)
    fields: dict[str, Any] = {
        "model": served_name or request.model,
        "max_tokens": request.max_completion_tokens or request.max_tokens or DEFAULT_MAX_TOKENS,
        "messages": conversation.turns,
    }
    system = conversation.system
    if request.response_format and request.response_format.type == "json_object":
        system = [*system, {"type": "text", "text": JSON_INSTRUCTION}]
    fields |= {"system": system} if system else {}
    fields |= tool_fields(request, conversation.called)
    fields |= _output_config(request)
    fields |= _stop_sequences(request.stop)
    fields |= _metadata(request.user or request.safety_identifier)
    if request.thinking:
        fields["thinking"] = request.thinking
    if request.stream:
        fields["stream"] = True
    return fields


def refuse_what_cannot_be_done(request: ChatRequest) -> None:
    """Raises InvalidRequest for the first field whose absence would change what the caller gets."""
    asked = {
        "n": (request.n or 1) > 1,
        "logprobs": request.logprobs,
        "top_logprobs": request.top_logprobs,
        "logit_bias": request.logit_bias,
        "modalities": "audio" in (request.modalities or ()),
        "audio": request.audio,
        "web_search_options": request.web_search_options is not None,
    }
    for name, wanted in asked.items():
        if wanted:
            raise InvalidRequest(
                f"Unsupported parameter: '{name}' has no counterpart in Anthropic's Messages API. Leave it out, or call a "
                "model of another provider.",
                param=name,
                code="unsupported_parameter",
            )


def _output_config(request: ChatRequest) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if request.reasoning_effort:
        config["effort"] = _effort(request.reasoning_effort)
    if request.response_format and (schema := _schema(request.response_format)):
        config["format"] = {"type": "json_schema", "schema": schema}
    return {"output_config": config} if config else {}


def _effort(effort: str) -> str:
    if effort not in EFFORTS:
        raise InvalidRequest(
            f"Invalid 'reasoning_effort': one of {', '.join(EFFORTS)} is expected.", param="reasoning_effort"
        )
    return EFFORTS[effort]


def _schema(response_format: ResponseFormat) -> dict[str, Any] | None:
    match response_format.type:
        case "text" | "json_object":
            return None
        case "json_schema":
            wanted = response_format.json_schema
            return accepted(wanted.schema if wanted else None, "response_format.json_schema.schema")
        case _:
            raise InvalidRequest(
                "Invalid 'response_format.type': text, json_object or json_schema is expected.",
                param="response_format.type",
            )


def _stop_sequences(stop: str | list[str] | None) -> dict[str, Any]:
    """Sequences of nothing but white space are left out: Anthropic refuses them."""
    sequences = [each for each in ([stop] if isinstance(stop, str) else stop or ()) if each.strip()]
    return {"stop_sequences": sequences} if sequences else {}


def _metadata(user: str | None) -> dict[str, Any]:
    """`metadata.user_id` must tell nothing of the person (anthropic.types.MetadataParam): what does not look opaque, an
    email address say, is sent as its SHA-256."""
    if not user:
        return {}
    id = user if _opaque.fullmatch(user) else hashlib.sha256(user.encode()).hexdigest()
    return {"metadata": {"user_id": id}}
