"""What a call asks, written so that two calls that ask the same are the same bytes: docs/caching.md says what counts."""

import msgspec

SAID_BESIDE = frozenset(
    {
        "stream",
        "stream_options",
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "prompt_cache_key",
        "prompt_cache_retention",
    }
)
"""Fields that change nothing about the answer: how it is sent, who asks, and what is kept of it."""
WHO_ASKS = frozenset({"user", "safety_identifier", "metadata"})
"""They count where a route keeps clients at their targets by one of them."""


class _Sampled(msgspec.Struct):
    temperature: msgspec.Raw = msgspec.Raw(b"null")


def _as_written(number: str) -> msgspec.Raw:
    """No two numbers become one by rounding: 1e0 and 1.0 are told apart, which costs a miss and never a wrong hit."""
    return msgspec.Raw(number.encode())


_decode = msgspec.json.Decoder(dict[str, object], float_hook=_as_written).decode
_encode = msgspec.json.Encoder(order="sorted").encode
_sampled = msgspec.json.Decoder(_Sampled).decode
_number = msgspec.json.Decoder(float).decode


def canonical(body: bytes, *, who_asks: bool) -> bytes | None:
    """The request without its whitespace, the order of its keys and SAID_BESIDE; None: it cannot be written so.

    Args:
        who_asks: keep the fields that say it.
    """
    try:
        fields = _decode(body)
        for name in SAID_BESIDE - WHO_ASKS if who_asks else SAID_BESIDE:
            fields.pop(name, None)
        return _encode(fields)
    except (ValueError, RecursionError):
        return None


def is_greedy(body: bytes) -> bool:
    """Whether it asks with temperature 0, so that a model would say the same again. A seed alone says too little: upstreams
    promise no more than to try, and the next version of a model answers otherwise."""
    try:
        return _number(_sampled(body).temperature) == 0
    except (ValueError, RecursionError):
        return False
