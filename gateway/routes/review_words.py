"""What a reviewer says of an item, as judgments."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args

import msgspec

from gateway.db.tables import CriterionRow, ReviewItemRow, ReviewQueueRow
from gateway.errors import InvalidRequest
from gateway.judgments.values import measured
from gateway.judgments.verdict import Verdict
from gateway.judgments.words import Answers, Speaker, check_judgment, judgment_verdict
from gateway.protocol.judgments import JudgmentCreate
from gateway.protocol.review_queues import DecisionCreate, Side
from gateway.reviewing import items, queues

PAIRWISE = "pairwise"
COMMENT, CORRECTION = "comment", "correction"
"""Built-in criteria that every queue of single answers takes beside its own."""
SIDES: tuple[str, ...] = get_args(Side)
Said = tuple[CriterionRow, Any, str]
"""A criterion, the value, and the field of the request."""


def said_of(
    queue: ReviewQueueRow, criteria: Sequence[CriterionRow], extra: dict[str, CriterionRow], wanted: DecisionCreate
) -> list[Said]:
    """Everything that was said, in the order of the queue's criteria.

    Args:
        criteria: the queue's, in force.
        extra: `comment` and `correction`, as far as they are needed.

    Raises InvalidRequest: a criterion has no value, or there is a value that nobody asked for.
    """
    if not criteria:
        raise InvalidRequest("Every criterion of this review queue was archived; nothing can be judged by it any more.")
    if queue.kind == PAIRWISE and wanted.correction is not None:
        raise InvalidRequest("Invalid 'correction': a pair is compared, not edited.", param="correction")
    names = [row.name for row in criteria]
    for name in wanted.values:
        if name not in names:
            message = f"Invalid 'values': this review queue judges by {', '.join(names)}."
            raise InvalidRequest(message, param=f"values.{name[:64]}")
    for name in names:
        if wanted.values.get(name) is None:
            message = f"Missing 'values.{name}': every criterion of the review queue needs a value. Skip what you cannot judge."
            raise InvalidRequest(message, param=f"values.{name}")
    said: list[Said] = [(row, wanted.values[row.name], f"values.{row.name}") for row in criteria]
    return said + [(row, getattr(wanted, name), name) for name, row in extra.items()]


def extra_names(queue: ReviewQueueRow, wanted: DecisionCreate) -> list[str]:
    """Criteria beside the queue's own; of a pair, a comment is the reason of its preference."""
    given = {COMMENT: wanted.comment, CORRECTION: wanted.correction}
    return [name for name, value in given.items() if value is not None and queue.kind != PAIRWISE]


def verdicts(
    queue: ReviewQueueRow, item: ReviewItemRow, who: str, said: Sequence[Said], wanted: DecisionCreate
) -> Iterator[Verdict]:
    """One for each thing that was said; the first has the tags. Raises InvalidRequest, which names the field."""
    speaker = Speaker(queue.project_id, who)
    answers = Answers(item.exchange_id, item.choice_index, item.other_exchange_id, item.other_choice_index)
    for number, (criterion, value, param) in enumerate(said):
        if queue.kind == PAIRWISE:
            value = _side(value, items.is_swapped(item, who), param)
        measured(criterion, value, param)  # what is wrong is told by the field that it stood in
        word = _word(queue, item, criterion.name, value)
        if not number:
            word.tags, word.strength = wanted.tags, wanted.strength
            word.rationale = wanted.comment if queue.kind == PAIRWISE else None
        check_judgment(word)
        verdict = judgment_verdict(word, criterion, speaker, answers)
        order = items.order_of(item, who) if queue.kind == PAIRWISE else None
        yield msgspec.structs.replace(verdict, order_shown=order, sampling=queues.sampling_of(queue, item))


def _word(queue: ReviewQueueRow, item: ReviewItemRow, criterion: str, value: Any) -> JudgmentCreate:
    """Said by a person; the queue tells it from what they say of the same answer elsewhere."""
    return JudgmentCreate(
        exchange_id=item.exchange_id,
        choice_index=item.choice_index,
        other_id=item.other_exchange_id,
        other_choice_index=item.other_choice_index or 0,
        criterion=criterion,
        value=value,
        source="human",
        identifier=queue.id,
        blind=queue.blind,
    )


def _side(value: Any, is_swapped: bool, param: str) -> str:
    """`a` and `b` are the item's answers, in whatever order they were shown."""
    if value not in SIDES:
        raise InvalidRequest(f"Invalid '{param}': expected one of {', '.join(SIDES)}.", param=param)
    first, second = "ba" if is_swapped else "ab"
    return {"first": first, "second": second}.get(str(value), str(value))
