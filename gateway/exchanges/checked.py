"""What rules said of an answer before it left, as the spool has it: one for each check of the route and choice."""

from typing import Any

import msgspec


class RuleSaid(msgspec.Struct, kw_only=True, frozen=True):
    """One rule."""

    rule: str
    """Its type."""
    passed: bool | None
    """None when it could not be applied."""
    score: float | None
    found: dict[str, Any] = {}
    """Counts and kinds; nothing of the answer."""


ERROR_CODES = ("timeout", "rule", "unreadable", "fault")
"""Not in time; a rule could not be applied; the answer could not be read; the processes that apply rules broke."""


class CheckSaid(msgspec.Struct, kw_only=True, frozen=True):
    """One check of a route, on one choice of a reply."""

    check: str
    mode: str
    route: str
    """`name@revision`."""
    rules: list[dict[str, Any]]
    """As they were in force."""
    judge_version_id: str | None = None
    """The judge that they are from; None for rules of the route's own."""
    choice_index: int = 0
    passed: bool | None = None
    """None when it could not be applied, or not in time."""
    score: float | None = None
    rationale: str | None = None
    """May quote the answer."""
    said: list[RuleSaid] = []
    error_code: str | None = None
    """Of ERROR_CODES."""
    ms: float = 0.0


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(list[CheckSaid]).decode


def without_words(verdicts: bytes) -> bytes:
    """Without what quotes the answer."""
    return encode([msgspec.structs.replace(each, rationale=None) for each in decode(verdicts)])
