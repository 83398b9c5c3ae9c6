"""Requests on the wire: OpenAI's fields and the vLLM extensions this engine knows. Unknown fields are ignored."""

import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from trainer.engine.refusals import Invalid, Unsupported
from trainer.engine.sampling import Options

MAX_CHOICES = 8
LONGEST_TOKEN_ID = 18
"""Digits."""

Penalty = Annotated[float, Meta(ge=-2, le=2)]


class StreamOptions(msgspec.Struct, kw_only=True):
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None
    """vLLM's: every chunk carries the usage so far."""


class GenerationCall(msgspec.Struct, kw_only=True):
    """What chat and text completions share. None means: not given."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    top_k: Annotated[int, Meta(ge=-1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=2)] | None = None
    min_tokens: Annotated[int, Meta(ge=0)] | None = None
    ignore_eos: bool | None = None
    stop_token_ids: list[int] | None = None


class Tool(msgspec.Struct, kw_only=True):
    type: str
    function: dict[str, Any] | None = None


class ResponseFormat(msgspec.Struct, kw_only=True):
    type: str


class ChatCall(GenerationCall, kw_only=True):
    """POST /v1/chat/completions"""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    """What a template is given of them is settled in `trainer/messages.py`."""
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    modalities: list[str] | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class CompletionCall(GenerationCall, kw_only=True):
    """POST /v1/completions"""

    prompt: str | list[Any]
    """A text, texts, token ids, or lists of token ids: see `prompts_of`."""
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    prompt_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    """vLLM's: log probabilities of the prompt's own tokens."""
    echo: bool | None = None
    suffix: str | None = None
    best_of: int | None = None


class TokenizeCall(msgspec.Struct, kw_only=True):
    """POST /tokenize: `messages` as a chat would read them, or a `prompt`."""

    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    tools: list[Tool] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool = True
    chat_template_kwargs: dict[str, Any] | None = None


class DetokenizeCall(msgspec.Struct, kw_only=True):
    tokens: list[int]


class LoadAdapterCall(msgspec.Struct, kw_only=True):
    lora_name: str = ""
    lora_path: str = ""
    load_inplace: bool = False


class UnloadAdapterCall(msgspec.Struct, kw_only=True):
    lora_name: str = ""


Call = TypeVar("Call")

MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]+)`(?: - at `\$\.?(?P<path>.*)`)?$")
WRONG = re.compile(r"^(?P<complaint>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?$", re.DOTALL)


def decoder_of(kind: type[Call]) -> Callable[[bytes], Call]:
    """A decoder of request bodies that raises Invalid with the field's path."""
    decoder = msgspec.json.Decoder(kind)

    def decode(body: bytes) -> Call:
        try:
            return decoder.decode(body)
        except msgspec.ValidationError as error:
            raise invalid_field(str(error)) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Invalid(f"The JSON body of the request could not be parsed: {error}") from error

    return decode


def invalid_field(complaint: str, within: str = "") -> Invalid:
    """msgspec's complaint about a value, in OpenAI's words. `within` is the path of that value in the request."""
    missing = MISSING.match(complaint)
    if missing:
        param = ".".join(part for part in (within, missing["path"], missing["field"]) if part)
        return Invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    wrong = WRONG.match(complaint)
    param = ".".join(part for part in (within, wrong["path"] if wrong else None) if part)
    if not wrong or not param:
        return Invalid(f"Invalid request body: {complaint}.")
    reason = wrong["complaint"]
    return Invalid(f"Invalid '{param}': {reason[:1].lower()}{reason[1:]}.", param, "invalid_value")


def check_chat(call: ChatCall) -> None:
    """Refuses what needs guided decoding or more than text."""
    check_stream(call)
    if call.response_format is not None and call.response_format.type != "text":
        raise Unsupported(f"response_format of type '{call.response_format.type}'", "response_format")
    if call.tool_choice is not None and call.tool_choice not in ("auto", "none"):
        chosen = call.tool_choice if isinstance(call.tool_choice, str) else "a named tool"
        raise Unsupported(f"tool_choice '{chosen}' (it supports 'auto' and 'none')", "tool_choice")
    if any(modality != "text" for modality in call.modalities or ()):
        raise Unsupported("modalities other than text", "modalities")
    if any(tool.type != "function" or tool.function is None for tool in call.tools or ()):
        raise Unsupported("tools other than functions", "tools")
    if call.top_logprobs is not None and not call.logprobs:
        raise Invalid("Invalid 'top_logprobs': it requires 'logprobs' to be true.", "top_logprobs", "invalid_value")


def check_completion(call: CompletionCall) -> None:
    check_stream(call)
    if call.suffix:
        raise Unsupported("suffix", "suffix")
    if call.best_of is not None and call.best_of != (call.n or 1):
        raise Unsupported("best_of", "best_of")
    if call.echo and call.logprobs is not None:
        raise Unsupported("echo together with logprobs", "echo")
    if call.stream and call.prompt_logprobs:
        raise Invalid("Invalid 'prompt_logprobs': it is not available when 'stream' is true.", "prompt_logprobs")


def prompts_of(call: CompletionCall, vocab_size: int) -> list[str] | list[list[int]]:
    """The prompts of a completion, one or many, as texts or as token ids."""
    written: list[Any] = [call.prompt] if isinstance(call.prompt, str) else call.prompt
    if written and all(isinstance(entry, str) for entry in written):
        return written
    lists: list[Any] = [written] if all(isinstance(entry, int) for entry in written) else written
    for ids in lists:
        known = isinstance(ids, list) and all(type(token) is int and 0 <= token < vocab_size for token in ids)
        if not known or not ids:
            raise Invalid(
                "Invalid 'prompt': expected a text, a list of texts, token ids of this model or a list of such lists.",
                "prompt",
                "invalid_value",
            )
    return lists


def check_stream(call: GenerationCall) -> None:
    if call.stream_options is not None and not call.stream:
        raise Invalid(
            "Invalid 'stream_options': it is only allowed when 'stream' is true.", "stream_options", "invalid_value"
        )


def options_of(call: GenerationCall, defaults: dict[str, float], *, vocab_size: int, **final: Any) -> Options:
    """The options of a call. `defaults` are the model's own sampling settings; `final` are settled by the caller
    (max_tokens, stop_ids, top_logprobs)."""
    stop = (call.stop,) if isinstance(call.stop, str) else tuple(call.stop or ())
    given = {
        "temperature": call.temperature,
        "top_p": call.top_p,
        "top_k": None if call.top_k is None else max(call.top_k, 0),
        "repetition_penalty": call.repetition_penalty,
        "frequency_penalty": call.frequency_penalty,
        "presence_penalty": call.presence_penalty,
        "seed": call.seed,
        "min_tokens": call.min_tokens,
        "ignore_eos": call.ignore_eos,
        "prompt_logprobs": call.prompt_logprobs if isinstance(call, CompletionCall) else None,
    }
    chosen = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    final["stop_ids"] = final["stop_ids"] | frozenset(stop_ids_of(call, vocab_size))
    return Options(
        stop=tuple(text for text in stop if text), logit_bias=bias_of(call, vocab_size), **{**chosen, **final}
    )


def stop_ids_of(call: GenerationCall, vocab_size: int) -> list[int]:
    ids = call.stop_token_ids or []
    if wrong := [id for id in ids if not 0 <= id < vocab_size]:
        raise Invalid(
            f"Invalid 'stop_token_ids': {wrong[0]} is not a token id of this model (0 to {vocab_size - 1}).",
            "stop_token_ids",
            "invalid_value",
        )
    return ids


def bias_of(call: GenerationCall, vocab_size: int) -> dict[int, float]:
    bias = {}
    for written, value in (call.logit_bias or {}).items():
        is_number = written.isascii() and written.isdigit() and len(written) <= LONGEST_TOKEN_ID
        if not is_number or int(written) >= vocab_size:
            raise Invalid(
                f"Invalid 'logit_bias': '{written[:50]}' is not a token id of this model (0 to {vocab_size - 1}).",
                "logit_bias",
                "invalid_value",
            )
        bias[int(written)] = value
    return bias
