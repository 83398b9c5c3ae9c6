"""What gateway/rule_processes.py asks gateway/rule_process.py, and what that answers."""

import msgspec

from gateway.exchanges.checked import RuleSaid


class Question(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """An exchange, and rules."""

    rules: bytes
    """JSON (judges/rules/written.py)."""
    request: bytes
    reply: bytes
    streamed: bool
    """The reply is the raw events of a stream."""
    choice: int | None = None
    """Its alone; of all without."""
    cpu_seconds: float = 0.0
    """After which the process is ended, by the time that it takes itself; 0: by the clock of who asks alone."""


class Said(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """Of one choice."""

    index: int
    passed: bool | None = None
    score: float | None = None
    rationale: str | None = None
    said: list[RuleSaid] = []
    error_code: str | None = None


encode_question = msgspec.msgpack.Encoder().encode
decode_question = msgspec.msgpack.Decoder(Question).decode
encode_said = msgspec.msgpack.Encoder().encode
decode_said = msgspec.msgpack.Decoder(list[Said]).decode
