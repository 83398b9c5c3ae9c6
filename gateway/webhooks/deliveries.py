"""Who tries which delivery when: several workers share them, and none is tried by two at once.

A try takes the delivery for LEASE_SECONDS: a worker that dies in the middle leaves it to be tried again, with the same
`webhook-id`. So each is delivered at least once.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import WebhookDeliveryRow, WebhookRow
from gateway.kit.clock import now
from gateway.webhooks.retries import DISABLED_AFTER, GONE, wait_after

LANES, LANES_WHEN_FAILING = 4, 1
"""Tries of one webhook at a time in one worker: who does not answer holds up nobody else."""
LEASE_SECONDS = 60.0
"""Longer than any try takes (sending.py)."""
KEPT = timedelta(days=30)

CLAIM = text("""
WITH due AS MATERIALIZED (
    SELECT d.id FROM webhooks w CROSS JOIN LATERAL (
        SELECT id FROM webhook_deliveries
        WHERE webhook_id = w.id AND next_at <= now()
        ORDER BY next_at
        LIMIT greatest(0, CASE WHEN w.failing_since IS NULL THEN CAST(:lanes AS int) ELSE CAST(:failing AS int) END
                          - coalesce(CAST(CAST(CAST(:busy AS text) AS jsonb) ->> w.id AS int), 0))
        FOR UPDATE SKIP LOCKED
    ) d WHERE w.deleted_at IS NULL AND w.disabled_at IS NULL
)
UPDATE webhook_deliveries d SET attempts = d.attempts + 1, next_at = now() + make_interval(secs => CAST(:lease AS float8))
FROM due WHERE d.id = due.id
RETURNING d.id, d.attempts
""")


@dataclass(frozen=True)
class Claim:
    """A delivery that this process tries now."""

    id: str
    attempt: int
    """From 1. Only who holds it may say what became of it: another try has another number."""
    event_id: str
    body: dict[str, Any]
    webhook: WebhookRow


@dataclass(frozen=True)
class Answer:
    """What came of a try."""

    status: int | None
    """None where nothing answered."""
    error: str | None
    """A sentence, unless it was taken."""


async def claim(session: AsyncSession, busy: Mapping[str, int]) -> list[Claim]:
    """Take what is due.

    Args:
        busy: webhook's id -> tries of it that are under way in this process.
    """
    values = {
        "busy": msgspec.json.encode(busy).decode(),
        "lanes": LANES,
        "failing": LANES_WHEN_FAILING,
        "lease": LEASE_SECONDS,
    }
    attempts = {row.id: row.attempts for row in await session.execute(CLAIM, values)}
    rows = await session.execute(
        select(WebhookDeliveryRow, WebhookRow).join(WebhookRow).where(WebhookDeliveryRow.id.in_(attempts))
    )
    return [Claim(row.id, attempts[row.id], row.event_id, row.body, webhook) for row, webhook in rows]


async def record(session: AsyncSession, tried: Claim, answer: Answer) -> None:
    """What came of a try; nothing, when its lease ran out and another has it."""
    webhook = await session.get_one(WebhookRow, tried.webhook.id, with_for_update=True)
    wait = wait_after(tried.attempt) if answer.error is not None else None
    ours = update(WebhookDeliveryRow).where(
        WebhookDeliveryRow.id == tried.id,
        WebhookDeliveryRow.attempts == tried.attempt,
        WebhookDeliveryRow.next_at.is_not(None),
    )
    recorded = ours.values(
        delivered_at=now() if answer.error is None else None,
        next_at=now() + timedelta(seconds=wait) if wait is not None else None,
        last_status=answer.status,
        last_error=answer.error,
    )
    if await session.scalar(recorded.returning(WebhookDeliveryRow.id)) is None:
        return
    if answer.error is None:
        webhook.failing_since = None
    else:
        _failed(webhook, answer, now())


def _failed(webhook: WebhookRow, answer: Answer, moment: datetime) -> None:
    since = webhook.failing_since = webhook.failing_since or moment
    if webhook.disabled_at is not None:
        return
    if answer.status == GONE:
        webhook.disabled_at, webhook.problem = moment, "It answered 410 (Gone): it wants no more events."
    elif since + DISABLED_AFTER <= moment:
        webhook.disabled_at = moment
        webhook.problem = f"It took nothing for {DISABLED_AFTER.days} days. The last time: {answer.error}"


async def remove_old(session: AsyncSession) -> None:
    """What was delivered or given up long ago."""
    ended = WebhookDeliveryRow.next_at.is_(None)
    await session.execute(delete(WebhookDeliveryRow).where(ended, WebhookDeliveryRow.created_at < now() - KEPT))
