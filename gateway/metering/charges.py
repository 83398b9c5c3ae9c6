"""A training in the ledger: one row for what was trained since the row before it, by ids that follow from the job's."""

from collections.abc import Sequence
from datetime import datetime
from itertools import count
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.driver import driver_of
from gateway.db.tables import ApiKeyRow, LedgerRow
from gateway.metering.cost import Cost
from gateway.metering.ledger import Ledger

KIND, ENDPOINT = "training", "/fine_tuning/jobs"
AT_ONCE = 50
"""Charges looked up by their ids in one query; a job has one, and one more for every pause."""


class Charged(msgspec.Struct, frozen=True):
    """What the ledger has of a job."""

    charges: int = 0
    tokens: int = 0
    device_ms: int = 0
    cost_nano: int = 0
    priced: bool = False
    """At least one of them met a price."""


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """What was trained since the last one."""

    job_id: str
    created_at: datetime
    """When this part of the training began: it counts in the windows of that moment, as a call does in its own."""
    project_id: str
    api_key_id: str
    model: str
    tokens: int
    device_ms: int
    cost: Cost | None
    """None: no price."""


async def charged(session: AsyncSession, job_id: str) -> Charged:
    rows: list[LedgerRow] = []
    for first in count(1, AT_ONCE):
        ids = [_id(job_id, number) for number in range(first, first + AT_ONCE)]
        found = list(await session.scalars(select(LedgerRow).where(LedgerRow.id.in_(ids))))
        rows += found
        if len(found) < AT_ONCE:
            break
    return Charged(
        len(rows),
        sum(row.input_tokens for row in rows),
        sum(row.device_ms for row in rows),
        sum(row.cost_nano for row in rows),
        any(row.priced for row in rows),
    )


async def post_charge(session: AsyncSession, ledger: Ledger, charge: Charge, number: int) -> None:
    """In the session's transaction, and once in it. The caller holds a lock on the job, so `number` is nobody else's."""
    user_id = await session.scalar(select(ApiKeyRow.user_id).where(ApiKeyRow.id == charge.api_key_id))
    cost = charge.cost
    row = {
        "id": _id(charge.job_id, number),
        "created_at": charge.created_at,
        "kind": KIND,
        "project_id": charge.project_id,
        "api_key_id": charge.api_key_id,
        "user_id": user_id or "",
        "holder": charge.job_id,
        "model": charge.model,
        "endpoint": ENDPOINT,
        "batch": False,
        "priced": cost is not None,
        "input_tokens": charge.tokens,
        "cached_input_tokens": 0,
        "output_tokens": 0,
        "device_ms": charge.device_ms,
        "cost_nano": cost.total if cost else 0,
        "input_nano": cost.input if cost else 0,
        "cached_input_nano": 0,
        "output_nano": 0,
        "request_nano": cost.request if cost else 0,
    }
    await _post(session, ledger, [row])


async def _post(session: AsyncSession, ledger: Ledger, rows: Sequence[dict[str, Any]]) -> None:
    await ledger.post(await driver_of(session), rows)


def _id(job_id: str, number: int) -> str:
    return f"charge_{job_id}_{number}"
