"""Apply rules to an answer: all of them, each on its own; what cannot be applied is an error and no score."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from judges.rules.behaviour import PersonalData, Secrets
from judges.rules.detection import in_language
from judges.rules.formats import Language
from judges.rules.rule import Outcome, RuleFailed
from judges.rules.telling import no_personal_data, no_secrets
from judges.rules.written import AnyRule, type_of
from judges.subject import Subject

log = logging.getLogger(__name__)


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


def check(rules: Sequence[AnyRule], subject: Subject) -> list[RuleVerdict]:
    """One verdict a rule, in their order."""
    return [_check(rule, subject) for rule in rules]


def apply(rule: AnyRule, subject: Subject) -> Outcome:
    """Raises RuleFailed."""
    match rule:
        case Language():
            return in_language(rule, subject)
        case PersonalData():
            return no_personal_data(rule, subject)
        case Secrets():
            return no_secrets(rule, subject)
        case _:
            return rule.check(subject)


def _check(rule: AnyRule, subject: Subject) -> RuleVerdict:
    try:
        outcome = apply(rule, subject)
    except RuleFailed as error:
        return _unknown(rule, str(error))
    except Exception as error:  # noqa: BLE001 whatever an answer breaks one rule with, the others hold it all the same
        log.error("a rule of the type %s failed: %r", type_of(rule), error)
        return _unknown(rule, f"It could not be applied to this answer ({type(error).__name__}).")
    return RuleVerdict(
        rule=type_of(rule),
        passed=outcome.passed,
        score=outcome.score,
        rationale=outcome.rationale,
        found=outcome.found,
    )


def _unknown(rule: AnyRule, why: str) -> RuleVerdict:
    return RuleVerdict(rule=type_of(rule), passed=None, score=None, rationale=why)


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
