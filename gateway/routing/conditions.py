"""What a refusal means for the next step: try again, ask another model, or tell the client."""

import re

from gateway.errors import ModelLoading, ModelUnservable, Refusal, UpstreamFailed, UpstreamRefused, UpstreamTimeout
from gateway.protocol.routes import Condition

TOO_LONG = re.compile(
    r"context[_ ](length|window|size|limit)"  # OpenAI, vLLM, SGLang, llama.cpp, LM Studio, OpenRouter, Anthropic
    r"|maximum (model|sequence) length"  # vLLM's engine
    r"|prompt is too long|input is too long"  # Anthropic, Bedrock
    r"|(input|prompt) token count .*exceeds"  # Gemini, Copilot
    r"|`?inputs`? tokens \+ `?max_new_tokens`?"  # TGI
    r"|prompt contains .* tokens .*too large",  # Mistral
    re.IGNORECASE,
)
"""How servers say, in words, that a call is longer than their model takes."""
TOO_LONG_CODES = frozenset(("context_length_exceeded", "exceed_context_size_error", "string_above_max_length"))
TOO_LONG_STATUSES = frozenset((400, 413, 422))
LIMIT_CODES = frozenset(("rate_limit_exceeded", "rate_limit_error", "insufficient_quota"))
CREDENTIALS = frozenset((401, 403))
TELLING: tuple[Condition, ...] = (
    "context_length",
    "rate_limit",
    "not_loaded",
    "server_error",
    "timeout",
    "connection",
)
"""Which failure the client hears of when nothing answered: what it can mend itself, then when to come back, then what
the upstream said, then that it said nothing. Of several alike, the first."""


def condition_of(refusal: Refusal, *, is_engine: bool) -> Condition | None:
    """Why a target did not answer; None when it is the client's own fault, or this process ends.

    Args:
        is_engine: the refusal is of an engine of ours, whose 503 says that it loads or sleeps.
    """
    match refusal:
        case UpstreamRefused():
            return _of_refused(refusal)
        case UpstreamTimeout():
            return "timeout"
        case UpstreamFailed():
            return _of_failed(refusal)
        case ModelUnservable():
            return "not_loaded"
        case ModelLoading():
            return "not_loaded" if is_engine else "server_error"
        case _:
            return None


def may_pass(refusal: Refusal, condition: Condition, *, elsewhere: bool) -> bool:
    """Whether the same model may answer the same call a moment later.

    A call that is too long stays so, a model that is not loaded has been waited for already, our own credentials do not
    mend themselves, and an upstream may say itself that there is no use (`x-should-retry: false`).

    Args:
        elsewhere: it would be another replica, which may have what this one has not.
    """
    if condition == "not_loaded":
        return elsewhere
    if refusal.headers.get("x-should-retry") == "false" or condition == "context_length":
        return False
    if isinstance(refusal, UpstreamFailed):
        return refusal.answered not in CREDENTIALS
    return not (isinstance(refusal, UpstreamRefused) and refusal.upstream_status == 402)


def retry_after(refusal: Refusal) -> float:
    """Seconds that the upstream asks for; 0 where it asks for none, or in a form that is no number (an HTTP date)."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(refusal.headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return 0.0


def _of_refused(refusal: UpstreamRefused) -> Condition | None:
    match refusal.upstream_status:
        case 429:
            return "rate_limit"
        case 408:
            return "timeout"
        case 402:  # our account there is empty: nothing that the client did
            return "server_error"
        case status if status in TOO_LONG_STATUSES and _is_too_long(refusal):
            return "context_length"
        case _:
            return None


def _of_failed(refusal: UpstreamFailed) -> Condition:
    """An error in place of a stream's first token comes with a good status, so its words decide."""
    if not refusal.reached:
        return "connection"
    if refusal.code in LIMIT_CODES:
        return "rate_limit"
    return "context_length" if _is_too_long(refusal) else "server_error"


def _is_too_long(refusal: Refusal) -> bool:
    return refusal.code in TOO_LONG_CODES or bool(TOO_LONG.search(str(refusal)[:2000]))
