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
    "replica_down",
    "upstream_failing",
    "adapter_failed",
]


class Alert(msgspec.Struct, kw_only=True):
    object: str = "alert"
    kind: Kind
    severity: Literal["critical", "warning"]
    message: str
    """A sentence for people."""
    since: int | None
    """Since when, as far as it is known."""
    value: float | None = None
    """What was measured: a share, milliseconds, seconds or bytes; see `unit`."""
    limit: float | None = None
    """What it should not be above."""
    unit: Literal["share", "ms", "seconds", "bytes"] | None = None
    n: int | None = None
    """Of how many calls, or how many answers wait."""
    project_id: str | None = None
    subject_type: Literal["budget", "project", "judge", "gateway", "replica", "upstream", "model"]
    """What it is about: where to act."""
    subject_id: str


class AlertList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[Alert]
    """Critical ones first."""
