"""What the programs that measure hold their figures against, and how they show them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Reached:
    """One line of the table of goals."""

    what: str
    goal: str
    reached: str
    met: bool | None = None
    """None: nothing is promised of it."""


def table(rows: Sequence[Reached]) -> str:
    lines = ["| what | goal | reached | |", "|---|---|---|---|"]
    words = {True: "met", False: "NOT MET", None: ""}
    return "\n".join(lines + [f"| {row.what} | {row.goal} | {row.reached} | {words[row.met]} |" for row in rows])


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median_and_range(values: Sequence[float], form: str = ".2f") -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"
