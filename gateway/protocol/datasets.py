"""Training data: what is wrong with it, how good it is, and what an import made of it. All extensions.

Shown by GET /v1/files/{file_id}/report and POST /v1/datasets/import. What /v1/datasets builds: dataset_versions.py.
"""

from typing import Annotated, Any, Literal, get_args

import msgspec

from gateway.protocol.files import File

Method = Literal["supervised", "dpo"]
Format = Literal["chat", "preference"]
"""What a line of each method's file is (contract section 3, "Training files")."""

Role = Literal["system", "user", "context", "assistant", "messages", "tools", "preferred", "non_preferred"]
"""What a column can be: `context` is more input (Alpaca's `input`), `messages` a whole conversation."""

ROLES: tuple[Role, ...] = get_args(Role)

Fault = Literal[
    "missing_values",
    "duplicates",
    "encoding",
    "no_user",
    "trailing",
    "unanswered_calls",
    "same_answers",
    "language_mismatch",
]
"""What may be wrong with single rows: codes of findings."""
MOST_EXCLUDED = 1000

SYSTEM_LENGTH = 16_000
"""Characters of a system prompt."""


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that makes a line unusable."""

    line: int
    """In the file, from 1; 0 is the file as a whole."""
    example: int
    """Counted without blank lines, from 1."""
    path: str
    """Where in the line: `messages[2].role`; empty for the line as a whole."""
    message: str
    fix: str

    def __str__(self) -> str:
        """As OpenAI words it: example first, then what is wrong."""
        place = f"`{self.path}`: " if self.path else ""
        return f"Example {self.example} (line {self.line}): {place}{self.message}. {self.fix}"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something about the whole file that its owner should know."""

    code: str
    level: Literal["info", "warn", "error"]
    message: str
    suggestion: str
    """What to do."""
    count: int
    """Examples that it is about."""
    share: float
    """Of all examples, 0 to 1."""
    lines: list[int] = []
    """The first of them."""


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Examples of `from_tokens` up to, but not including, `to_tokens`."""

    from_tokens: int
    to_tokens: int
    examples: int


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths in tokens: text, plus four for each message's frame, which differs a little from template to template."""

    source: Literal["counted", "sampled", "estimated"]
    """counted: every example with the base model's tokenizer; sampled: some thousand examples, the others by their
    characters; estimated: four characters a token, no tokenizer was there."""
    total: int
    mean_input: float
    """Of what is given, an example."""
    mean_output: float
    """Of what is to be learnt; of a pair, both answers."""
    shortest: int
    median: int
    p95: int
    longest: int
    context_length: int | None
    """Of the base model or the job."""
    over_long: int
    """Examples longer than that: they are cut at the end."""
    histogram: list[Bucket]


class SuggestedSplit(msgspec.Struct, frozen=True, kw_only=True):
    training: int
    validation: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one pass over a file tells."""

    object: str = "file.report"
    method: Method
    format: Format
    bytes: int
    lines: int
    blank_lines: int
    examples: int
    """Good and bad."""
    bad_examples: int
    problem_count: int
    problems: list[Problem]
    """The first of them."""
    other_format: Literal["chat", "preference", "completions"] | None
    """When no line is in the method's format, but lines are in this one."""
    roles: dict[str, int]
    """Messages by role."""
    with_tools: int
    duplicates: int
    """Examples beyond the first of their kind."""
    repeated_answers: int
    """Answers that were there before, capitals, numbers, white space and punctuation aside; without `duplicates`."""
    tokens: Tokens
    findings: list[Finding]
    score: int
    """0 to 100 (gateway/datasets/findings.py says how)."""
    suggested_split: SuggestedSplit | None
    """80/20, for who has no validation file."""

    @property
    def good_examples(self) -> int:
        return self.examples - self.bad_examples


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/files/{file_id}/report."""

    object: str = "file.report"
    file_id: str
    report: Report


class FileRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a training file."""

    line: int
    """Of the file, from 1."""
    example: Any
    """As it is written; null where it is no JSON, or too long to be shown."""
    score: int | None
    """0 to 100; null: not looked at."""
    note: str


class FileRows(msgspec.Struct, frozen=True, kw_only=True):
    """GET /v1/files/{file_id}/rows."""

    object: str = "list"
    data: list[FileRow]
    has_more: bool
    cut: bool = False
    """There are more, and they lie too far behind to be shown: download the file."""


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """POST /v1/datasets/import: beside the multipart `file`, or as JSON with the id of a stored one."""

    file_id: str | None = None
    mapping: dict[str, str] | None = None
    """Role (one of ROLES) -> column, when the columns' names do not say it."""
    system: Annotated[str, msgspec.Meta(max_length=SYSTEM_LENGTH)] | None = None
    """A system message for every example that has none."""
    format: Literal["auto", "table", "messages", "chat", "preference"] = "auto"
    """Overrides what was detected: a table of texts, a column of conversations, or OpenAI's own lines."""
    store: bool = False
    """Without it, nothing is kept."""
    split: Annotated[float, msgspec.Meta(gt=0, le=0.5)] | None = None
    """Share of the examples that goes into a validation file."""
    leave_out: list[Fault] = []
    """Rows with one of these faults are skipped; of duplicates all but the first."""
    excluded_rows: Annotated[list[Annotated[int, msgspec.Meta(ge=1)]], msgspec.Meta(max_length=MOST_EXCLUDED)] = []
    """Numbers of rows, as `examples` shows them, that nobody wants."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    samples: list[str]
    """Of the first rows, cut."""
    empty: float
    """Share of the rows looked at that have nothing here, 0 to 1."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent."""

    container: Literal["csv", "json", "jsonl", "parquet"]
    encoding: str | None
    delimiter: str | None
    rows: int
    columns: list[Column]


class ConvertedExample(msgspec.Struct, frozen=True, kw_only=True):
    row: int
    """In the source, from 1, a heading not counted."""
    example: dict[str, Any]
    """As it would be trained on; long texts are cut here only."""
    score: int
    """0 to 100."""
    note: str


class SkippedRow(msgspec.Struct, frozen=True, kw_only=True):
    row: int
    reason: str


class Skipped(msgspec.Struct, frozen=True, kw_only=True):
    count: int = 0
    rows: list[SkippedRow] = []
    """The first of them."""


class Import(msgspec.Struct, kw_only=True):
    """What was found in a source, and what became of it."""

    object: str = "dataset.import"
    source: Source
    layout: str
    """alpaca, sharegpt, sharegpt-preference, table, preference-table, openai-chat, openai-preference or unknown."""
    format: Format | None
    """Of the converted examples."""
    confidence: int
    """Percent."""
    mapping: dict[Role, str]
    mapping_required: bool
    """Too uncertain: send `mapping`, from the columns in `source`."""
    message: str
    notes: list[str]
    examples: list[ConvertedExample]
    skipped: Skipped
    report: Report | None
    training_examples: int = 0
    validation_examples: int = 0
    file: File | None = None
    """The stored training file, of purpose fine-tune."""
    validation_file: File | None = None
