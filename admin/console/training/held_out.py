"""A validation file as the items of an eval: what was asked, and the answer that was held out."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec

from gateway.datasets.held_out import of_example

MOST = 100
"""Items: enough to see a difference of ten points, few enough to be answered in minutes."""
ITEM_SCHEMA = {
    "type": "object",
    "properties": {"input": {"type": "array", "items": {"type": "object"}}, "expected": {"type": "string"}},
    "required": ["input", "expected"],
}
CRITERION = {
    "type": "text_similarity",
    "name": "like the held-out answer",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.expected }}",
    "evaluation_metric": "rouge_l",
    "pass_threshold": 0.5,
}


def items(content: bytes, *, whole: bool) -> list[dict[str, Any]]:
    """Of the lines of a file, MOST at most; those that hold no text to compare with are passed over.

    Args:
        content: the file, or its beginning.
        whole: else the last line may be torn, and is left out.
    """
    lines = content.splitlines()
    return list(_first(_items(lines if whole else lines[:-1])))


def _items(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            example = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        if isinstance(example, dict) and (found := of_example(cast("dict[str, Any]", example))):
            yield {"item": found}


def _first(found: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, each in enumerate(found):
        if number == MOST:
            return
        yield each
