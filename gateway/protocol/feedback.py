"""POST /v1/feedback (an extension): what people say of an answer."""

from typing import Any, Literal

import msgspec

from gateway.protocol.judgments import Judgment

Choice = Literal["a", "b", "tie", "both_bad"]
Value = bool | int | float | str


class FeedbackCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """On one answer, or on two; whatever is given becomes one judgment each."""

    completion_id: str
    """`chatcmpl-...`, or the `x-request-id` of the call (`req_...`)."""
    choice_index: int = 0
    """Which answer, of a call with `n`."""
    thumbs: Literal["up", "down"] | None = None
    rating: int | float | None = None
    """1 to 5, or whatever the project's criterion `rating` takes."""
    criterion: str | None = None
    """Name of a criterion, judged with `value`."""
    value: Value | None = None
    values: dict[str, Value] | None = None
    """Several at once: name of a criterion -> value."""
    tags: list[str] | None = None
    """What went wrong: `hallucination`, `too_long`, ..."""
    comment: str | None = None
    correction: str | dict[str, Any] | None = None
    """The answer as it should have been: its text, or the whole assistant message with its tool calls."""
    preference: Choice | None = None
    """a: the answer `completion_id` is better; b: the answer `other_id` is."""
    other_id: str | None = None
    other_choice_index: int = 0
    strength: int | None = None
    """Of a preference: 1 (slightly) to 3 (much)."""
    identifier: str | None = None
    """Chosen by the client: whoever gives another word with the same one replaces the first."""
    user: str | None = None
    """The product's user who says so; kept as a hash."""
    metadata: dict[str, str] | None = None
    blind: bool = False
    """The person saw neither the models' names nor what others had said."""


class Feedback(msgspec.Struct, kw_only=True):
    object: str = "feedback"
    exchange_id: str
    judgments: list[Judgment]
