"""/v1/training_examples (an extension): lines of training files that people manage by hand."""

from typing import Annotated, Any, Literal

import msgspec

from gateway.protocol.moments import Moment

Kind = Literal["sft", "preference"]
Status = Literal["draft", "validated", "rejected"]
Source = Literal["manual", "upload", "exchange", "edit"]

Tags = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=100)]], msgspec.Meta(max_length=20)
]  # fmt: skip
Score = Annotated[float, msgspec.Meta(ge=0, le=1)]
Note = Annotated[str, msgspec.Meta(max_length=4000)]
MOST_NAMED = 1000


class ExampleCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    line: dict[str, Any]
    """As one line of OpenAI's training files: `{"messages": [...]}`, or `{"input": ..., "preferred_output": ...}`."""
    tags: Tags = []
    note: Note = ""


class ExampleUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    line: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    """Makes another example, a draft with another id, in the place of this one."""
    tags: Tags | msgspec.UnsetType = msgspec.UNSET
    note: Note | msgspec.UnsetType = msgspec.UNSET


class ExampleValidate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    status: Status = "validated"
    """draft takes a verdict back."""
    score: Score | None = None
    note: Note | msgspec.UnsetType = msgspec.UNSET


class LoggedAnswers(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Answers of the log that people liked, newest first: a thumb up, a rating that passes, or an edit, which is then what
    is learnt. A person's no outweighs every yes. Or those that are named, whatever was said of them."""

    ids: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MOST_NAMED)] | None = None
    """`req_...` or `chatcmpl-...`."""
    min_score: Score | None = None
    """No person's score of it is less: 0.75 is four of five stars. Edits always count."""
    created_after: Moment | None = None
    """Of the call, Unix seconds, inclusive."""
    created_before: Moment | None = None
    """Exclusive."""
    models: list[str] = []
    routes: list[str] = []
    metadata: dict[str, str] = {}
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1000
    """Examples at most."""


class ImportCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Of a stored training file, or of the log."""

    file_id: str | None = None
    exchanges: LoggedAnswers | None = None
    tags: Tags = []
    validated: bool = False
    """Whoever imports them has looked at them: they are no drafts."""
    score: Score | None = None
    """Of validated ones."""


class Skipped(msgspec.Struct, kw_only=True):
    reason: str
    count: int
    first: list[str]
    """What and why: lines of the file, or exchanges."""


class ExampleImport(msgspec.Struct, kw_only=True):
    object: str = "training_example.import"
    created: int
    duplicates: int
    """The same lines are there already, or came twice; nothing of them is changed."""
    skipped: list[Skipped]
    has_more: bool = False
    """The log has more that match; go on with an earlier `created_before`."""


class TrainingExample(msgspec.Struct, kw_only=True):
    id: str
    object: str = "training_example"
    created_at: int
    updated_at: int
    created_by: str
    kind: str
    line: dict[str, Any]
    sha256: str
    tags: list[str]
    source: str
    exchange_id: str | None
    file_id: str | None
    status: str
    score: float | None
    note: str
    validated_by: str | None
    validated_at: int | None
