"""What a judge made of an answer: a verdict, or why there is none. Never a score in the place of an error."""

from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "error", "abstained"]
ErrorCode = Literal[
    "parse",
    "schema",
    "refusal",
    "injection_suspected",
    "timeout",
    "rate_limit",
    "quota",
    "upstream",
    "refused",
    "position_inconsistent",
    "not_logged",
    "rule",
]
"""parse: no verdict in what was said, or two; schema: a verdict that is not of the asked form; refused: the call itself
was wrong (no such model, a key that was revoked); rule: a rule that could not be applied."""
NO_VERDICT: tuple[ErrorCode, ...] = ("parse", "schema", "refusal", "injection_suspected")
"""Of a judge that was asked and answered: asking it the same again costs the same again."""
Preference = Literal["a", "b", "tie", "both_bad"]
SWAPPED: dict[Preference, Preference] = {"a": "b", "b": "a"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """One judge's word on one answer, or on two."""

    status: Status = "ok"
    error_code: ErrorCode | None = None
    """With status error; beside ok only `position_inconsistent`, where two orders were reconciled to a tie."""
    score: float | None = None
    """0 to 1, more is better."""
    raw_value: Any = None
    """As it was said: 4, true, "toxic", "first"."""
    label: str | None = None
    passed: bool | None = None
    preference: Preference | None = None
    rationale: str | None = None
    notes: dict[str, Any] = field(default_factory=dict[str, Any])
    """More to be kept with it."""

    @property
    def is_ok(self) -> bool:
        return self.status == "ok"

    @property
    def is_answer(self) -> bool:
        """Whether the judge has answered, with a verdict or without."""
        return self.is_ok or self.error_code in NO_VERDICT


def failed(code: ErrorCode, why: str) -> Opinion:
    """No verdict."""
    return Opinion(status="error", error_code=code, rationale=why)
