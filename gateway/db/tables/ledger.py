"""The ledger: one narrow row for everything that was used, the truth about money. Rollups and budgets follow from it."""

from datetime import datetime

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from gateway.db.base import Base


class LedgerRow(Base):
    """Written once, never changed, in the transaction that stores the exchange. No foreign keys, as for the log.

    `cost_nano` is exactly the sum of the other `..._nano`.
    """

    __tablename__ = "ledger"

    id: Mapped[str] = mapped_column(primary_key=True)
    """The exchange's id, or `charge_...`."""
    created_at: Mapped[datetime]
    """When the call came in: its hour, and the windows of the budgets that it counts in."""
    kind: Mapped[str]
    """call, or training."""
    project_id: Mapped[str]
    api_key_id: Mapped[str]
    user_id: Mapped[str]
    """Whom the key belongs to; empty for a service account's."""
    holder: Mapped[str]
    """Who spent it: a gateway process (the name of its spool) or a fine-tuning job. Budgets lease to holders."""
    model: Mapped[str]
    """The model that answered, or was trained."""
    endpoint: Mapped[str]
    """As in the exchange log; /fine_tuning/jobs for a training."""
    batch: Mapped[bool]
    priced: Mapped[bool]
    """False when usage met no price: visible in the costs API instead of a silent zero."""
    input_tokens: Mapped[int]
    """Of a training: the tokens trained."""
    cached_input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    device_ms: Mapped[int]
    """Time on devices, of a training."""
    cost_nano: Mapped[int]
    input_nano: Mapped[int]
    cached_input_nano: Mapped[int]
    output_nano: Mapped[int]
    request_nano: Mapped[int]
    """Price per request; the device time of a training; and what rounding up added."""

    __table_args__ = (Index("ix_ledger_created_at", "created_at"),)


class _ByProject:
    """Columns of every rollup behind its first, which says when the time starts that is summed up."""

    project_id: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    endpoint: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    batch: Mapped[bool] = mapped_column(primary_key=True)
    priced: Mapped[bool] = mapped_column(primary_key=True)
    requests: Mapped[int]
    input_tokens: Mapped[int]
    cached_input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    device_ms: Mapped[int]
    cost_nano: Mapped[int]
    input_nano: Mapped[int]
    cached_input_nano: Mapped[int]
    output_nano: Mapped[int]
    request_nano: Mapped[int]


class _ByKey(_ByProject):
    api_key_id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(primary_key=True)


class UsageHourRow(_ByKey, Base):
    """Sums of the ledger by hour and everything that usage is asked by; `tuneway usage rebuild` makes it anew."""

    __tablename__ = "usage_hours"

    hour: Mapped[datetime] = mapped_column(primary_key=True, sort_order=-1)
    """When it starts (UTC)."""


class UsageDayRow(_ByKey, Base):
    """The same by day, for reports over months."""

    __tablename__ = "usage_days"

    day: Mapped[datetime] = mapped_column(primary_key=True, sort_order=-1)
    """Its midnight (UTC)."""


class ProjectHourRow(_ByProject, Base):
    """The same without keys and people, of whom there may be hundreds: most reports do not ask for them."""

    __tablename__ = "project_hours"

    hour: Mapped[datetime] = mapped_column(primary_key=True, sort_order=-1)


class ProjectDayRow(_ByProject, Base):
    __tablename__ = "project_days"

    day: Mapped[datetime] = mapped_column(primary_key=True, sort_order=-1)
