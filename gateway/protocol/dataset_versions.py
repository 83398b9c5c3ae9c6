"""/v1/datasets: datasets that are built by recipes, their versions, and what came of each. An extension."""

from typing import Annotated, Any, Literal, get_args

import msgspec

from gateway.protocol.datasets import Finding, Format, Tokens
from gateway.protocol.files import File
from gateway.protocol.moments import Moment
from gateway.protocol.recipes import Recipe

Status = Literal["queued", "building", "completed", "failed", "cancelled"]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Description = Annotated[str, msgspec.Meta(max_length=4000)]
ExportFormat = Literal["openai", "trl", "sharegpt", "alpaca", "parquet", "csv"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)


class DatasetCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: Name
    recipe: Recipe
    description: Description = ""
    metadata: dict[str, str] | None = None
    snapshot_at: Moment | None = None
    """Exchanges and judgments made later do not count. Left out: now."""


class DatasetUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    name: Name | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET


class VersionCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    recipe: Recipe | None = None
    """Left out: that of the newest version."""
    snapshot_at: Moment | None = None


class PreviewCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    recipe: Recipe
    sample: Annotated[int, msgspec.Meta(ge=1, le=5000)] = 1000
    """The newest exchanges that are looked at."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    stage: Literal["selecting", "cleaning", "writing", "storing"]
    done: int
    total: int | None


class DatasetVersion(msgspec.Struct, kw_only=True):
    id: str
    object: str = "dataset.version"
    dataset_id: str
    version: int
    created_at: int
    created_by: str
    snapshot_at: int
    """Exchanges and judgments made later do not count."""
    status: Status
    progress: Progress | None
    recipe: Recipe
    """With every default filled in."""
    training_file: str | None
    """Id of a file of purpose fine-tune, for POST /v1/fine_tuning/jobs."""
    validation_file: str | None
    training_rows: int | None
    validation_rows: int | None
    content_sha256: str | None
    """Of the training file's bytes, then the validation file's."""
    finished_at: int | None
    error: Failure | None


class Dataset(msgspec.Struct, kw_only=True):
    id: str
    object: str = "dataset"
    created_at: int
    updated_at: int
    name: str
    description: str
    metadata: dict[str, Any] | None
    latest_version: DatasetVersion | None


class DatasetItem(msgspec.Struct, kw_only=True):
    """Where one line comes from."""

    id: str
    object: str = "dataset.item"
    split: Literal["training", "validation"]
    line: int
    """Of its file, from 1."""
    kind: Literal["sft", "preference"]
    sha256: str
    cluster: str
    exchange_id: str | None
    other_exchange_id: str | None
    example_id: str | None
    judgment_ids: list[str]
    origin_model: str | None
    erased_at: int | None


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    reason: str
    meaning: str
    count: int
    examples: list[dict[str, str]]
    """Ids of the first few."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Whose answers are learnt."""

    model: str | None
    """None: people."""
    rows: int
    share: float
    depth: int
    """Trainings behind it."""


class PairLengths(msgspec.Struct, frozen=True, kw_only=True):
    """Of preference pairs."""

    mean_chosen_tokens: float
    mean_rejected_tokens: float
    chosen_longer: float | None
    """Share of the pairs, with its interval (Wilson, 95%)."""
    chosen_longer_low: float
    chosen_longer_high: float
    pairs: int


class SplitReport(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    bytes: int
    tokens: Tokens
    findings: list[Finding]
    score: int


class DatasetReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was taken, what was left out and why."""

    object: str = "dataset.report"
    format: Format
    considered: int
    """Answers, or pairs of them, that could have become rows."""
    rows: int
    by_signal: dict[str, int]
    """Why rows were taken."""
    dropped: list[Dropped]
    training: SplitReport
    validation: SplitReport
    clusters: int
    """Groups of near-duplicates and conversations, which the split keeps together."""
    users: int
    largest_user_share: float
    """Of the rows: of the one user with the most."""
    redacted: dict[str, int]
    """Placeholders by kind."""
    origins: list[Origin]
    own_share: float
    """Of the rows: answered by models that were trained here."""
    depths: dict[str, int]
    """Rows by the number of trainings behind their answer."""
    lengths: PairLengths | None
    judges: list["JudgeCounted"]
    """Every model that judged anything of the project, and whether its word counted."""
    warnings: list[Finding]


class JudgeCounted(msgspec.Struct, frozen=True, kw_only=True):
    judge_version_id: str
    trusted: bool


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """A dry run on the newest exchanges: selection alone, nothing is cleaned, split or stored."""

    object: str = "dataset.preview"
    sample: int
    """Exchanges that were looked at."""
    matching: int
    """Exchanges that the filters match; no more than 100,000 are counted."""
    considered: int
    taken: int
    by_signal: dict[str, int]
    dropped: list[Dropped]


class DatasetExport(msgspec.Struct, frozen=True, kw_only=True):
    object: str = "dataset.export"
    file: File
    format: ExportFormat
    rows: int
    skipped: int
    """Lines that the format cannot hold."""
