"""Comparisons are judged in both orders: a judge may prefer whatever it reads first (arXiv 2305.17926)."""

from collections.abc import Sequence
from typing import get_args

from judges.llm.opinion import Opinion, Preference
from judges.llm.questions import Order

ORDERS: tuple[Order, ...] = get_args(Order)


def reconcile(ab: Opinion, ba: Opinion) -> Opinion:
    """One opinion out of both orders.

    The same in both is the verdict. What changes with the order is none: a tie, marked `position_inconsistent`. Where one
    order failed, the comparison failed.
    """
    for each in (ab, ba):
        if not each.is_ok:
            return each
    reasons = " / ".join(each.rationale for each in (ab, ba) if each.rationale)
    consistent = ab.preference == ba.preference
    return Opinion(
        preference=ab.preference if consistent else "tie",
        error_code=None if consistent else "position_inconsistent",
        rationale=reasons or None,
        notes={**ab.notes, **ba.notes, "consistent": consistent},
    )


def consistency(reconciled: Sequence[Opinion]) -> float | None:
    """Share of comparisons whose verdict did not change with the order; None without any."""
    ok = [each for each in reconciled if each.is_ok]
    return sum(each.error_code is None for each in ok) / len(ok) if ok else None


def win_rate(preferences: Sequence[Preference | None]) -> float | None:
    """Of A: a tie (or two bad answers) counts half; None without any."""
    counted = [each for each in preferences if each is not None]
    return sum({"a": 1.0, "b": 0.0}.get(each, 0.5) for each in counted) / len(counted) if counted else None
