"""Regular expressions that others wrote: they end after a second at most."""

from collections.abc import Iterator

import regex

from judges.rules.rule import RuleFailed

SECONDS = 1.0
MAX_PATTERN = 2000


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
    try:
        return regex.search(pattern, text, timeout=SECONDS) is not None
    except TimeoutError:
        raise RuleFailed(f"the pattern {pattern[:100]!r} took longer than {SECONDS:g} s on this answer") from None
    except (regex.error, MemoryError, RecursionError) as error:
        raise RuleFailed(f"the pattern {pattern[:100]!r} cannot be applied: {error}") from None


def matches(pattern: str, text: str) -> Iterator[str]:
    """The first group of every match, or the whole of it. Raises RuleFailed."""
    try:
        for match in regex.finditer(pattern, text, timeout=SECONDS):
            yield match[1] if match.re.groups and match[1] is not None else match[0]
    except TimeoutError:
        raise RuleFailed(f"the pattern {pattern[:100]!r} took longer than {SECONDS:g} s on this text") from None
