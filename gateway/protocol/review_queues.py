"""/v1/review_queues (an extension): answers that people judge, one after the other."""

from typing import Annotated, Any, Literal

import msgspec

from gateway.protocol.criteria import Criterion
from gateway.protocol.judgments import Interval, Judgment

Kind = Literal["single", "pairwise"]
Finding = Literal["failed", "disagreeing", "low_score", "unjudged"]
Order = Literal["newest", "random"]
ItemState = Literal["open", "locked", "done", "gone"]
"""open: may be given to somebody. locked: somebody looks at it. done: as many people as `overlap` says have judged it. gone:
what was to be judged is erased."""
Side = Literal["first", "second", "tie", "both_bad"]
"""Of two answers, in the order in which they were shown."""
MOST_ITEMS = 5_000
"""In one queue."""
MOST_OVERLAP = 10


class Answer(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An answer of the log: an exchange (`req_...`, or the completion's id), and which of its choices."""

    exchange_id: str
    choice_index: Annotated[int, msgspec.Meta(ge=0, le=127)] = 0


class ReviewSource(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which answers a queue is filled with. Only of calls that were completed, and whose texts the log has."""

    model: str | None = None
    """As requested or as served."""
    created_after: int | None = None
    """Unix seconds, inclusive."""
    created_before: int | None = None
    """Exclusive."""
    metadata: dict[str, str] | None = None
    found: Finding | None = None
    """What judgments in force say of them: failed (one says so), disagreeing (by one criterion one passes and one fails
    it), low_score (one is at most `max_score`), unjudged (by nobody)."""
    judge_id: str | None = None
    """With `found`: judgments of this judge alone."""
    criterion: str | None = None
    """With `found`: by this criterion alone (its name)."""
    max_score: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    order: Order = "newest"
    """Which of them, when there are more than `limit`."""
    seed: int = 0
    """Of a random sample: the same of the same answers."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_ITEMS)] = 100
    answers: Annotated[list[Answer], msgspec.Meta(max_length=MOST_ITEMS)] | None = None
    """These alone; of a pairwise queue, those among them that answer the same question."""
    pairs: Annotated[list[tuple[Answer, Answer]], msgspec.Meta(max_length=MOST_ITEMS)] | None = None
    """Of a pairwise queue: these alone. Both must answer the same question."""


class ReviewQueueCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    kind: Kind = "single"
    """single: one answer at a time. pairwise: two answers to one question."""
    criteria: Annotated[list[str], msgspec.Meta(max_length=9)] | None = None
    """Names of what each answer is judged by, in their order; left out, thumbs, or preference."""
    blind: bool = True
    overlap: Annotated[int, msgspec.Meta(ge=1, le=MOST_OVERLAP)] = 1
    """How many people judge each item."""
    source: ReviewSource = msgspec.field(default_factory=ReviewSource)


class ReviewQueueUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Agreement(msgspec.Struct, kw_only=True):
    """Of people who judged the same items by one criterion."""

    criterion: str
    criterion_id: str
    items: int
    """Judged by two people or more, among the latest decisions."""
    rate: float
    """Of two people who judged the same item, how often they said the same."""
    interval: Interval


class Progress(msgspec.Struct, kw_only=True):
    total: int
    done: int
    """Judged by as many people as `overlap` says."""
    mine: int
    """That the caller has judged."""
    skipped: int
    """By the caller, and not judged since."""
    open: int
    """total - done: for whoever has not judged them."""


class ReviewQueue(msgspec.Struct, kw_only=True):
    id: str
    object: str = "review_queue"
    created_at: int
    created_by: str
    """A person, or an api key."""
    name: str
    kind: str
    criteria: list[Criterion]
    """In force; of a list of queues, without those that were archived since."""
    blind: bool
    overlap: int
    source: dict[str, Any] | None
    """How it was filled; `considered` says of how many answers, `taken` how many."""
    progress: Progress
    agreement: list[Agreement] | msgspec.UnsetType = msgspec.UNSET
    """Of one queue that more than one person judges; a list leaves it out."""
    archived_at: int | None


class ShownAnswer(msgspec.Struct, kw_only=True):
    """An answer to be judged."""

    message: dict[str, Any]
    """The assistant's, whole."""
    finish_reason: str | None
    exchange_id: str | None
    """Null while the queue is blind and the caller has not judged it; as the next two."""
    choice_index: int | None
    model: str | None


class ReviewItem(msgspec.Struct, kw_only=True):
    id: str
    object: str = "review_queue.item"
    queue_id: str
    position: int
    """In the queue, from 0."""
    messages: list[dict[str, Any]]
    """What was asked."""
    tools: list[Any] | None
    answers: list[ShownAnswer]
    """One, or two in the order in which this person sees them: shuffled by person and item."""
    order_shown: str | None
    """ab or ba, of a pair; null while it is blind and not judged."""
    locked_until: int | None
    """By the caller: until then nobody else is given it."""
    decision: str | None
    """done or skipped, by the caller."""
    judgments: list[Judgment]
    """The caller's, of this item in this queue."""
    verdicts: list[Judgment] | None
    """What judges, rules and other systems say of these answers; null while it is blind and not judged."""


class NextItem(msgspec.Struct, kw_only=True):
    object: str = "review_queue.next"
    item: ReviewItem | None
    """Null: there is nothing for the caller now."""
    progress: Progress
    waiting: int = 0
    """Items that others are looking at now, and that may come back."""


class NextCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    besides: Annotated[list[str], msgspec.Meta(max_length=20)] = msgspec.field(default_factory=list[str])
    """Items that the caller has before them: another one is wanted."""
    skipped: bool = False
    """Also what the caller has skipped."""


class DecisionCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a person says of an item. Sent again it changes nothing; another word takes its place."""

    values: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    """Criterion -> value, for each of the queue: true, 4, a label; of a pair first, second, tie or both_bad, in the order in
    which the answers were shown."""
    strength: int | None = None
    """Of preferences: 1 (slightly) to 3 (much)."""
    tags: list[str] | None = None
    comment: str | None = None
    correction: str | dict[str, Any] | None = None
    """The answer as it should have been, as text or as a whole message; not of pairs."""


class UndoCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    item_id: str | None = None
    """Whose decision is taken back; left out, the caller's latest in this queue. Sent again it changes nothing."""


class ReviewItemsCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """More items for a queue."""

    source: ReviewSource


class ReviewItemsAdded(msgspec.Struct, kw_only=True):
    object: str = "review_queue.items_added"
    added: int
    present: int
    """Of those that were asked for, in the queue before."""
    queue: ReviewQueue


class ItemDecision(msgspec.Struct, kw_only=True):
    user_id: str
    """A person, or an api key."""
    decision: str
    """done or skipped."""
    decided_at: int


class ListedItem(msgspec.Struct, kw_only=True):
    """One item of a list: its state, and who did what with it."""

    id: str
    object: str = "review_queue.item"
    position: int
    state: ItemState
    question: str | None
    """The beginning of it; null where it was erased, or is not read yet."""
    answers: list[str | None]
    """The beginnings of one answer, or of A and B."""
    exchange_ids: list[str] | None
    """Of these. Null while the queue is blind and the caller has not judged it."""
    locked_by: str | None
    locked_until: int | None
    done: int
    """How many people have judged it."""
    decisions: list[ItemDecision]
    """The earliest first."""


class ReviewerProgress(msgspec.Struct, kw_only=True):
    """How far somebody is."""

    object: str = "review_queue.person"
    user_id: str
    """A person, or an api key."""
    name: str
    done: int
    skipped: int
    last_at: int


class ReviewerList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[ReviewerProgress]
    """Who did most comes first."""
