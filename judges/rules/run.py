"""Apply rules to an answer: all of them, each on its own; what cannot be applied is an error and no score."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from judges.rules.behaviour import PersonalData, Refusal, Repetition, Secrets
from judges.rules.formats import Json, JsonSchema, Language, Length, Regex
from judges.rules.rule import RuleFailed
from judges.rules.sources import CitationsInContext, Groundedness, MustCite
from judges.rules.tools import TextGrader, ToolCalls
from judges.subject import Subject

AnyRule = (
    Json
    | JsonSchema
    | Regex
    | Length
    | Language
    | MustCite
    | CitationsInContext
    | Groundedness
    | Refusal
    | Repetition
    | PersonalData
    | Secrets
    | ToolCalls
    | TextGrader
)
"""Every rule, told apart by `type`."""
MAX_RULES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleVerdict:
    """What one rule said."""

    rule: str
    """Its type."""
    passed: bool | None
    """None when it could not be applied."""
    score: float | None
    rationale: str
    found: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def failed(self) -> bool:
        """It could not be applied."""
        return self.passed is None


def type_of(rule: AnyRule) -> str:
    return str(rule.__struct_config__.tag)


def check(rules: Sequence[AnyRule], subject: Subject) -> list[RuleVerdict]:
    """One verdict a rule, in their order."""
    return [_check(rule, subject) for rule in rules]


def _check(rule: AnyRule, subject: Subject) -> RuleVerdict:
    try:
        outcome = rule.check(subject)
    except RuleFailed as error:
        return RuleVerdict(rule=type_of(rule), passed=None, score=None, rationale=str(error))
    return RuleVerdict(
        rule=type_of(rule),
        passed=outcome.passed,
        score=outcome.score,
        rationale=outcome.rationale,
        found=outcome.found,
    )


@dataclass(frozen=True, slots=True)
class Overall:
    """All rules together."""

    passed: bool | None
    """None when one could not be applied and no other failed."""
    score: float | None
    """The mean of those that could be applied; None where none could."""
    rationale: str
    """Of whatever did not pass."""


def overall(verdicts: Sequence[RuleVerdict]) -> Overall:
    """An answer passes when it passes every rule."""
    scores = [each.score for each in verdicts if each.score is not None]
    refused = [each for each in verdicts if each.passed is False]
    unknown = [each for each in verdicts if each.failed]
    passed = False if refused else None if unknown else True
    said = [f"{each.rule}: {each.rationale}" for each in (*refused, *unknown)]
    return Overall(passed, sum(scores) / len(scores) if scores else None, " ".join(said) or "All rules are kept.")


def problems(rules: Sequence[AnyRule], path: str = "rules") -> list[tuple[str, str]]:
    """What is wrong with the parameters of rules: a JSON path and a sentence each."""
    if not 1 <= len(rules) <= MAX_RULES:
        return [(path, f"1 to {MAX_RULES} rules, not {len(rules)}.")]
    found: list[tuple[str, str]] = []
    for place, rule in enumerate(rules):
        for problem in rule.problems():
            name, _, why = problem.partition(": ")
            found.append((f"{path}[{place}].{name}", why))
    return found


decode = msgspec.json.Decoder(list[AnyRule]).decode
"""Rules out of JSON. Raises msgspec.ValidationError, which names the path."""
