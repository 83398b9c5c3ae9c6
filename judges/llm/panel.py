"""Several judges of one answer."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from judges.llm.criterion import Criterion
from judges.llm.opinion import Opinion

Combine = Literal["majority", "mean"]


def combined(criterion: Criterion, members: Sequence[Opinion], how: Combine) -> Opinion:
    """The panel's opinion.

    More than half of all members, those that failed included, must have a verdict; otherwise the panel has none, with the
    commonest error. `majority` takes what more members said than anything else, and abstains where there is no such value;
    `mean` is the mean score.
    """
    ok = [each for each in members if each.is_ok]
    if 2 * len(ok) <= len(members):
        return _commonest_error(members)
    notes: dict[str, Any] = {"members": len(members), "members_ok": len(ok)}
    for each in ok:
        notes |= {name: value for name, value in each.notes.items() if name == "injection_markers"}
    if how == "mean" and criterion.kind != "pairwise":
        score = sum(each.score or 0.0 for each in ok) / len(ok)
        return Opinion(score=score, raw_value=score, passed=criterion.passes_score(score), notes=notes)
    return _majority(ok, notes)


def _majority(ok: Sequence[Opinion], notes: dict[str, Any]) -> Opinion:
    """Of what they said; a comparison without one is a tie."""
    counted = Counter(_said(each) for each in ok).most_common(2)
    notes["agreement"] = counted[0][1] / len(ok)
    if len(counted) > 1 and counted[0][1] == counted[1][1]:
        if ok[0].preference is not None:
            return Opinion(preference="tie", notes=notes)
        return Opinion(status="abstained", rationale="The judges of the panel do not agree.", notes=notes)
    winner = next(each for each in ok if _said(each) == counted[0][0])
    return Opinion(
        score=winner.score,
        raw_value=winner.raw_value,
        label=winner.label,
        passed=winner.passed,
        preference=winner.preference,
        rationale=winner.rationale,
        notes=notes,
    )


def _said(opinion: Opinion) -> Any:
    return opinion.preference if opinion.preference is not None else opinion.raw_value


def _commonest_error(members: Sequence[Opinion]) -> Opinion:
    missing = [each for each in members if not each.is_ok]
    counts = Counter(each.error_code for each in missing)
    told = max(missing, key=lambda each: counts[each.error_code])
    why = f"{len(missing)} of {len(members)} judges of the panel gave no verdict. {told.rationale or ''}".strip()
    return Opinion(status=told.status, error_code=told.error_code, rationale=why)
