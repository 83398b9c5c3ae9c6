"""What happened becomes deliveries, in the transaction that notes that it was told: exactly once."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import WebhookDeliveryRow, WebhookRow
from gateway.kit.clock import now, unix
from gateway.kit.ids import new_id
from gateway.protocol.webhooks import EventType
from gateway.webhooks import repository


@dataclass(frozen=True)
class Event:
    """Something that webhooks may want to hear of."""

    type: EventType
    created_at: datetime
    data: dict[str, Any]
    """Like OpenAI's: the id of what it happened to, and for budgets everything about it."""


def body_of(event: Event, event_id: str) -> dict[str, Any]:
    """OpenAI's webhook event."""
    return {
        "id": event_id,
        "object": "event",
        "type": event.type,
        "created_at": unix(event.created_at),
        "data": event.data,
    }


async def announce(session: AsyncSession, events: list[Event]) -> int:
    """One delivery of each event for each webhook that wants it and is not disabled; how many."""
    webhooks = list(await session.scalars(repository.live().where(WebhookRow.disabled_at.is_(None))))
    made = 0
    for event in events:
        event_id = new_id("evt_")
        for webhook in webhooks:
            if event.type in webhook.events:
                session.add(_delivery(webhook.id, event_id, event))
                made += 1
    return made


def _delivery(webhook_id: str, event_id: str, event: Event) -> WebhookDeliveryRow:
    moment = now()
    return WebhookDeliveryRow(
        id=new_id("whd_"),
        webhook_id=webhook_id,
        event_id=event_id,
        type=event.type,
        body=body_of(event, event_id),
        created_at=moment,
        attempts=0,
        next_at=moment,
    )
