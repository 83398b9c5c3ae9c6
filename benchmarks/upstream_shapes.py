"""What the upstream of the benchmarks answers when a call asks for more than the usual: its metadata say `shape`.

stamped:EVENTS:MS    a stream of so many tokens, one each MS milliseconds; each is the time at which it was sent (monotonic,
                     nanoseconds: on one machine every process reads the same clock)
tokens:N             a stream of so many tokens, as fast as they are read
whole:BYTES          a whole answer whose text is so long
"""

import json
import re
import time
from typing import Any

SHAPE = re.compile(rb'"shape"\s*:\s*"([a-z]+):(\d+)(?::(\d+))?"')
COMMON = {"id": "chatcmpl-benchmark", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 12, "completion_tokens": 20, "total_tokens": 32}
TOKEN = "token "
TOKENS_A_WRITE = 100


def shape_of(body: bytes) -> tuple[str, int, int] | None:
    """What is asked for, the first and the second number; it stands at the end of the body."""
    found = SHAPE.search(body, max(0, len(body) - 1000))
    return (found[1].decode(), int(found[2]), int(found[3] or 0)) if found else None


def whole(size: int) -> bytes:
    message = {"role": "assistant", "content": (TOKEN * (size // len(TOKEN) + 1))[:size], "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return json.dumps(COMMON | {"object": "chat.completion", "choices": [choice], "usage": USAGE}).encode()


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _framed(b"data: " + json.dumps({**COMMON, "choices": [choice]}).encode() + b"\n\n")


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


FIRST = event({"role": "assistant", "content": ""})
_BEFORE, _AFTER = event({"content": "0" * 19}).split(b"0" * 19)
"""Of a stamp, which has nineteen digits."""
MANY = event({"content": TOKEN}) * TOKENS_A_WRITE
LAST = (
    event({}, "stop")
    + _framed(b"data: " + json.dumps({**COMMON, "choices": [], "usage": USAGE}).encode() + b"\n\n")
    + _framed(b"data: [DONE]\n\n")
    + b"0\r\n\r\n"
)


def stamp() -> bytes:
    return b"%b%019d%b" % (_BEFORE, time.monotonic_ns(), _AFTER)
