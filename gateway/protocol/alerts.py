"""/v1/organization/alerts (an extension): what is not as it should be now."""

from typing import Literal

import msgspec

Kind = Literal[
    "budget_exhausted",
    "budget_threshold",
    "error_rate",
    "latency",
    "judge_lag",
    "spool_depth",
    "spool_full",
    "replica_down",
    "upstream_failing",
    "adapter_failed",
    "uptime",
    "quality_drift",
]


class Alert(msgspec.Struct, kw_only=True):
    object: str = "alert"
    id: str = ""
    """The same while it lasts, and the next time: `kind:subject_id`, and more where that is not enough."""
    kind: Kind
    severity: Literal["critical", "warning"]
    message: str
    """A sentence for people."""
    since: int | None
    """Since when, as far as it is known."""
    value: float | None = None
    """What was measured: a share, milliseconds, seconds or bytes; see `unit`."""
    limit: float | None = None
    """What it should not be above; of `uptime` and `quality_drift`, below: of the latter it is the share before."""
    unit: Literal["share", "ms", "seconds", "bytes"] | None = None
    n: int | None = None
    """Of how many calls, or how many answers wait."""
    project_id: str | None = None
    subject_type: Literal["budget", "project", "judge", "gateway", "replica", "upstream", "model", "criterion"]
    """What it is about: where to act."""
    subject_id: str
    criterion: str | None = None
    """Of `quality_drift`: its name, as the log is filtered by it."""
    source: str | None = None
    """Of `quality_drift`, whose judgments: human, rule, llm or external."""

    def __post_init__(self) -> None:
        self.id = self.id or f"{self.kind}:{self.subject_id}"


class AlertList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[Alert]
    """Critical ones first."""
