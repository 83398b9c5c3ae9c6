"""What people said of answers beside what the judge said, counted: which answers, and where the two differ."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Any

from gateway.judging.scales import Scale

SHOWN_OF_CELL = 20
MOST_VALUES = 11
"""Of a scale that are told one by one; more are counted by the parts of the scale that they are in."""
Said = tuple[Any, Any, str]
"""By people, by the judge, and of which exchange."""


def confusion(items: Sequence[Said], scale: Scale | None) -> dict[str, Any]:
    """People's labels down, the judge's across; `exchanges` has the newest answers of each cell.

    Args:
        items: the oldest first.
        scale: of values; None of labels.
    """
    known = {said for each in items for said in each[:2]}
    if scale is not None and len(known) > MOST_VALUES:
        names = {part: scale.name_of(part) for part in sorted({scale.part_of(value) for value in known})}
        items = [(names[scale.part_of(one)], names[scale.part_of(other)], id) for one, other, id in items]
        return _table(items, list(names.values()))
    return _table(items, sorted(known, key=lambda each: (isinstance(each, str), each)))


def _table(items: Sequence[Said], labels: Sequence[Hashable]) -> dict[str, Any]:
    cells: dict[tuple[Any, Any], list[str]] = defaultdict(list)
    for people, judge, exchange_id in items:
        cells[people, judge].append(exchange_id)
    table = [[cells.get((row, column), []) for column in labels] for row in labels]
    return {
        "labels": list(labels),
        "counts": [[len(ids) for ids in row] for row in table],
        "exchanges": [[ids[-SHOWN_OF_CELL:][::-1] for ids in row] for row in table],
    }
