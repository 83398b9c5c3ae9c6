"""Failures whose questions are nearly the same, found in a bounded and deterministic way."""

from collections.abc import Mapping, Sequence

from rapidfuzz import fuzz, process

from gateway.guidance.populations import Sighting

COMPARED = 400
"""The newest failures of a cluster."""
GROUPS = 60
"""Different questions that others are held against; what is like none of them stands alone."""
ALIKE = 75.0
"""Of 100: how alike two questions are, whatever the order of their words (rapidfuzz's token_sort_ratio)."""
MOST = 5
LEAST = 2


def topics(failures: Sequence[Sighting], questions: Mapping[str, str]) -> tuple[list[list[Sighting]], int]:
    """Groups of LEAST or more, the largest first, and how many were compared.

    Args:
        failures: newest first.
        questions: exchange -> its first words; what is not there is not compared.
    """
    asked = [(each, folded) for each in failures if (folded := _folded(questions.get(each.id, "")))][:COMPARED]
    leaders: list[str] = []
    groups: list[list[Sighting]] = []
    for sighting, question in asked:
        place = _nearest(question, leaders)
        if place is not None:
            groups[place].append(sighting)
        elif len(leaders) < GROUPS:
            leaders.append(question)
            groups.append([sighting])
    large = [each for each in groups if len(each) >= LEAST]
    return sorted(large, key=len, reverse=True)[:MOST], len(asked)


def _nearest(question: str, leaders: Sequence[str]) -> int | None:
    found = process.extractOne(question, leaders, scorer=fuzz.token_sort_ratio, score_cutoff=ALIKE, processor=None)
    return found[2] if found is not None else None


def _folded(question: str) -> str:
    """Without capitals, and what is no letter or digit."""
    return " ".join("".join(each if each.isalnum() else " " for each in question.casefold()).split())
