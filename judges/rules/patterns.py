"""Regular expressions that others wrote: they end after a second at most, of the time that they have for themselves."""

import time
from collections.abc import Callable
from typing import TypeVar

import regex

from judges.rules.rule import RuleFailed

SECONDS = 1.0
MAX_PATTERN = 2000
Found = TypeVar("Found")


def problem(pattern: str, name: str) -> str | None:
    """What is wrong with a pattern."""
    if len(pattern) > MAX_PATTERN:
        return f"{name}: at most {MAX_PATTERN} characters."
    try:
        regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError) as error:
        return f"{name}: {error}."
    return None


def search(pattern: str, text: str) -> bool:
    """Whether it matches anywhere. Raises RuleFailed when that takes too long."""
    return _in_time(pattern, lambda seconds: regex.search(pattern, text, timeout=seconds) is not None)


def matches(pattern: str, text: str) -> list[str]:
    """The first group of every match, or the whole of it. Raises RuleFailed when that takes too long."""
    return _in_time(pattern, lambda seconds: [_said(each) for each in regex.finditer(pattern, text, timeout=seconds)])


def _said(match: "regex.Match[str]") -> str:
    return match[1] if match.re.groups and match[1] is not None else match[0]


def _in_time(pattern: str, apply: Callable[[float], Found]) -> Found:
    """`regex` counts the CPU time of the whole process. What other threads took of it is no fault of the pattern: it is
    applied again with as much more."""
    seconds = SECONDS
    while True:
        began = time.thread_time()
        try:
            return apply(seconds)
        except TimeoutError:
            own = time.thread_time() - began
            if own >= SECONDS * 0.9:  # the two clocks tick in steps of their own
                raise RuleFailed(f"the pattern {pattern[:100]!r} took longer than {SECONDS:g} s on this text") from None
            seconds *= min(10.0, max(2.0, SECONDS / max(own, 0.001)))
        except (regex.error, MemoryError, RecursionError) as error:
            raise RuleFailed(f"the pattern {pattern[:100]!r} cannot be applied: {error}") from None
