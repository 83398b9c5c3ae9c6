"""The grader string_check: 1 or 0 (OpenAI's guide "Graders", "String check graders")."""

from collections.abc import Callable

from judges.graders import Operation

_OPERATIONS: dict[Operation, Callable[[str, str], bool]] = {
    "eq": lambda text, reference: text == reference,
    "ne": lambda text, reference: text != reference,
    "like": lambda text, reference: reference in text,
    "ilike": lambda text, reference: reference.casefold() in text.casefold(),
}


def check(operation: Operation, text: str, reference: str) -> float:
    """`like` and `ilike`: whether the text contains the reference, with and without regard to case."""
    return float(_OPERATIONS[operation](text, reference))
