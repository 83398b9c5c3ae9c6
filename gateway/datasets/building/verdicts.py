"""What was said of one answer, and whether that makes it worth learning."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from gateway.protocol.recipes import Condition, Positive

Standing = Literal["edit", "human", "checked", "unjudged"]
Reason = Literal["vetoed", "no_positive_signal", "untrusted_judge", "unjudged", "condition_not_met"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgment as building sees it: status ok, made and not taken back at the snapshot, outside of eval runs."""

    id: str
    created_at: datetime
    exchange_id: str
    choice_index: int
    other_exchange_id: str | None
    other_choice_index: int | None
    source: str
    judge: str
    """Its version's id, or the person's: of a product's users, who all speak through its key, the key and the user together."""
    criterion_id: str
    criterion: str
    kind: str
    score: float | None
    label: str | None
    passed: bool | None
    preference: str | None
    edited_message: dict[str, Any] | None
    reconciled: bool
    """Of a comparison: not one of the two orders, but what they come to."""


@dataclass(frozen=True, slots=True)
class Taken:
    """An answer is worth learning, and by which judgments."""

    standing: Standing
    judgment_ids: list[str]
    edit: dict[str, Any] | None = None
    """What is learnt in its place."""


def judge_answer(
    verdicts: Sequence[Verdict], positive: Positive, trusted: frozenset[str], required: Sequence["Required"] = ()
) -> Taken | Reason:
    """What becomes of one answer, given all that was said of it.

    Args:
        verdicts: in the order of their ids.
        trusted: versions of judges whose agreement with people was shown.
        required: conditions of the recipe.
    """
    if positive.edits and (edit := newest_edit(verdicts)) is not None:
        return Taken("edit", [edit.id], edit.edited_message)
    said = [each for each in verdicts if each.passed is not None]
    if any(each.source == "human" and not each.passed for each in said):
        return "vetoed"
    believed = [each for each in verdicts if is_believed(each, positive, trusted)]
    if not all(condition.holds(believed) for condition in required):
        return "condition_not_met"
    return _signal(said, verdicts, positive, trusted)


def _signal(
    said: Sequence[Verdict], verdicts: Sequence[Verdict], positive: Positive, trusted: frozenset[str]
) -> Taken | Reason:
    liked = [each for each in said if each.source == "human"]
    if positive.human and liked:
        return Taken("human", [each.id for each in liked])
    checked = [each for each in said if each.source in ("rule", "llm") and is_believed(each, positive, trusted)]
    if positive.rule_and_judge and _passes_both(checked):
        return Taken("checked", [each.id for each in checked])
    if any(not each.passed for each in checked):
        return "no_positive_signal"
    if positive.unjudged:
        return Taken("unjudged", [each.id for each in checked])
    if positive.rule_and_judge and _passes_both([each for each in said if each.source in ("rule", "llm")]):
        return "untrusted_judge"
    return "no_positive_signal" if verdicts else "unjudged"


def is_believed(verdict: Verdict, positive: Positive, trusted: frozenset[str]) -> bool:
    """A model's word counts once its agreement with people was shown."""
    return verdict.source != "llm" or positive.allow_untrusted or verdict.judge in trusted


def newest_edit(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Of several people's edits the last one counts."""
    edits = [each for each in verdicts if each.edited_message is not None and each.source == "human"]
    return max(edits, key=lambda each: (each.created_at, each.id), default=None)


def _passes_both(said: Sequence[Verdict]) -> bool:
    return {each.source for each in said} == {"rule", "llm"} and all(each.passed for each in said)


@dataclass(frozen=True, slots=True)
class Required:
    """A condition of a recipe, about one version of a criterion."""

    condition: Condition
    criterion_id: str | None
    """None where the project has none of that name: nothing meets it."""

    def holds(self, verdicts: Iterable[Verdict]) -> bool:
        """Enough judges said anything, and enough of them said this. Of repeats of one judge the mean counts."""
        by_judge: dict[tuple[str, str], list[bool]] = {}
        for each in verdicts:
            if each.criterion_id == self.criterion_id and self.condition.source in (None, each.source):
                by_judge.setdefault((each.source, each.judge), []).append(self._meets(each))
        agreeing = sum(sum(said) / len(said) for said in by_judge.values())
        wanted = self.condition.agreement * len(by_judge)
        return len(by_judge) >= self.condition.min_judges and agreeing >= max(wanted, 1e-9)

    def _meets(self, verdict: Verdict) -> bool:
        asked = self.condition
        if asked.min_score is not None and (verdict.score is None or verdict.score < asked.min_score):
            return False
        if asked.labels and verdict.label not in asked.labels:
            return False
        return asked.passed is None or verdict.passed is asked.passed
