"""What every rule is: a few parameters, and a verdict on one answer."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from judges.subject import Subject


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="type"):
    """Base of all rules; `type` says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a rule found."""

    passed: bool
    score: float
    """0 to 1."""
    rationale: str
    """One sentence; it may quote the answer."""
    found: dict[str, Any] = field(default_factory=dict[str, Any])
    """Counts and kinds; nothing of the answer's text."""


class RuleFailed(Exception):
    """The rule could not be applied; that is an error and no verdict. The message is a sentence."""


class Applied(Protocol):
    """A rule that can be applied."""

    def check(self, subject: Subject) -> Outcome:
        """Raises RuleFailed."""
        ...

    def problems(self) -> list[str]:
        """What is wrong with its parameters, beyond their types: sentences that begin with the parameter's name."""
        ...


def verdict(passed: bool, rationale: str, **found: Any) -> Outcome:
    """Of a rule that knows only yes and no."""
    return Outcome(passed=passed, score=float(passed), rationale=rationale, found=found)


def share(part: int, whole: int) -> float:
    """1 of nothing."""
    return part / whole if whole else 1.0
