"""/v1/budgets (an extension): what a key, a project or everybody may spend."""

from typing import Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

Scope = Literal["organization", "project", "api_key"]
Period = Literal["total", "day", "week", "month"]
Source = Literal["budgets", "spend_limit", "spend_alert"]

MOST_USD = 10_000_000
"""Of a limit: a hundred times its nano-dollars still fits the database's integers."""
THRESHOLDS = [50, 80, 100]


class BudgetCreate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    scope: Scope | None = None
    """Left out: api_key with an `api_key_id`, project with a `project_id`, else organization."""
    project_id: str | None = None
    api_key_id: str | None = None
    period: Period
    limit_usd: Raw
    """A JSON number of dollars, to the nano-dollar."""
    hard: bool = True
    """False: it tells of its thresholds and refuses nothing."""
    thresholds: list[int] | None = None
    """Percents of the limit; 50, 80 and 100 when left out."""
    name: str | None = None


class BudgetUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is left out stays."""

    limit_usd: Raw | UnsetType = UNSET
    hard: bool | UnsetType = UNSET
    thresholds: list[int] | UnsetType = UNSET
    name: str | UnsetType | None = UNSET


class BudgetWindow(msgspec.Struct, kw_only=True):
    """The period that is on."""

    starts_at: int
    ends_at: int | None
    """Exclusive; null for a total."""
    spent_usd: float
    """What the ledger says."""
    leased_usd: float
    """Set aside for calls: given to gateway processes and jobs, and not spent yet."""
    remaining_usd: float
    """The limit without what was spent; never below 0."""
    percent: float
    """Of the limit that was spent."""


class BudgetObject(msgspec.Struct, kw_only=True):
    id: str
    object: str = "budget"
    created_at: int
    name: str | None
    scope: str
    project_id: str | None
    api_key_id: str | None
    api_key_name: str | None
    """Of a budget of a key."""
    period: str
    limit_usd: float
    hard: bool
    thresholds: list[int]
    source: str
    """budgets; or spend_limit, spend_alert: made and changed at OpenAI's own URLs."""
    window: BudgetWindow


class BudgetEvent(msgspec.Struct, kw_only=True):
    """A threshold that was reached: once in each window for each limit."""

    id: str
    object: str = "budget.event"
    created_at: int
    budget_id: str
    window_starts_at: int
    threshold: int
    """Percent."""
    limit_usd: float
    """At that time."""
    spent_usd: float
    announced_at: int | None
    """When it was handed to the webhooks."""


class CurrentBudget(msgspec.Struct, kw_only=True):
    """A budget as the key that it binds sees it. Of the organisation's it sees no amounts: they tell of other projects."""

    object: str = "budget.current"
    name: str | None
    scope: str
    period: str
    starts_at: int
    ends_at: int | None
    limit_usd: float | None
    spent_usd: float | None
    remaining_usd: float | None
    exhausted: bool
    """Nothing is left."""


class CurrentBudgetList(msgspec.Struct, kw_only=True):
    object: str = "list"
    data: list[CurrentBudget]


class BudgetLease(msgspec.Struct, kw_only=True):
    """What a holder has of one budget's window."""

    budget_id: str
    window_starts_at: int
    window_ends_at: int | None
    granted_usd: float
    """It may spend so much in the whole window, what it has spent included."""
    spent_usd: float
    """In the ledger."""
    unspent_usd: float
    """Nobody else can spend this."""


class BudgetHolder(msgspec.Struct, kw_only=True):
    """Who holds a part of budgets: a gateway process, or a fine-tuning job."""

    id: str
    object: str = "budget.holder"
    kind: Literal["gateway", "fine_tuning_job"]
    host: str | None
    """The machine of a gateway process; null where it is not known, and of jobs."""
    created_at: int | None
    """When it first leased something; of a job, when it was created."""
    seen_at: int | None
    """When a gateway process last said that it runs."""
    silent_seconds: int | None
    """Since then."""
    unspent_usd: float
    """Of all its leases."""
    leases: list[BudgetLease]
    """In windows that are on."""
