"""What a failure is about, whoever told of it: rules have types, people use their own words."""

import re

from gateway.protocol.guidance import Cluster

SUBJECTS: dict[str, re.Pattern[str]] = {
    "json": re.compile(r"json|schema|malformed|unparsable|wrong format", re.IGNORECASE),
    "length": re.compile(r"too[ _-]?long|verbose|too[ _-]?short|\blength\b|concise|wordy", re.IGNORECASE),
    "language": re.compile(r"language", re.IGNORECASE),
    "citations": re.compile(r"cit(e|ation)|source", re.IGNORECASE),
    "grounding": re.compile(
        r"hallucinat|grounded|made[ _-]?up|invented|incorrect|\baccura|factual|wrong", re.IGNORECASE
    ),
    "refusal": re.compile(r"refus", re.IGNORECASE),
    "repetition": re.compile(r"repeti|repeats", re.IGNORECASE),
    "private": re.compile(r"personal|privat|\bpii\b|secret|\bsafe", re.IGNORECASE),
    "tone": re.compile(r"tone|rude|impolite|formal", re.IGNORECASE),
    "tools": re.compile(r"tool", re.IGNORECASE),
    "complete": re.compile(r"complete|missing|omits", re.IGNORECASE),
    "clear": re.compile(r"clear|confus", re.IGNORECASE),
}
"""In their order: the first that matches is what it is about."""


def about(cluster: Cluster) -> str | None:
    """One of SUBJECTS; None where no word of it is known."""
    named = cluster.subject.tag or cluster.subject.criterion or ""
    return next((name for name, pattern in SUBJECTS.items() if pattern.search(named)), None)


def is_of_answers(cluster: Cluster) -> bool:
    """What was said is wrong, not how it came about."""
    return cluster.kind in ("judgment", "tag", "eval", "flip")
