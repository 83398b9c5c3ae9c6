"""Webhooks' rows, and the secrets sealed in them."""

from datetime import datetime, timedelta

import sqlalchemy
from msgspec import UNSET
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import WebhookDeliveryRow, WebhookRow
from gateway.errors import InvalidRequest, NoEncryptionKey, NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.kit.sealing import Place, Sealer
from gateway.protocol.webhooks import SecretRotation, WebhookCreate, WebhookUpdate
from gateway.webhooks import rules
from gateway.webhooks.signing import hint_of, new_secret

MOST = 100
"""Each may have several deliveries under way at once (deliveries.py)."""
LOCK = 7_305_212_864_017
"""Any fixed number: PostgreSQL's advisory lock that lets one be made at a time, so that there are never more."""
OVERLAP = timedelta(hours=24)


def live() -> Select[WebhookRow]:
    return select(WebhookRow).where(WebhookRow.deleted_at.is_(None))


async def webhook(session: AsyncSession, webhook_id: str, *, lock: bool = False) -> WebhookRow:
    """Raises NotFound."""
    query = live().where(WebhookRow.id == webhook_id)
    row = await session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound(f"No webhook with id '{webhook_id}'.", param="webhook_id")
    return row


def deliveries(webhook_id: str) -> Select[WebhookDeliveryRow]:
    return select(WebhookDeliveryRow).where(WebhookDeliveryRow.webhook_id == webhook_id)


async def create(session: AsyncSession, sealer: Sealer, wanted: WebhookCreate) -> tuple[WebhookRow, str]:
    """The row, and its secret: the only time that it is shown.

    Raises:
        InvalidRequest: a field is wrong, there is no encryption key, or there are too many.
    """
    moment = now()
    row = WebhookRow(id=new_id("whe_"), created_at=moment, updated_at=moment, url=rules.check_url(wanted.url))
    row.events = rules.check_event_types(wanted.event_types)
    row.name = rules.check_name(wanted.name) if wanted.name is not None else None
    await session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    if await session.scalar(select(func.count()).select_from(live().subquery())) >= MOST:  # type: ignore[operator]
        raise InvalidRequest(f"There are {MOST} webhooks already; delete one first.")
    secret = _new_secret(row, sealer)
    session.add(row)
    return row, secret


async def update(session: AsyncSession, webhook_id: str, fields: WebhookUpdate) -> WebhookRow:
    """Raises NotFound, InvalidRequest."""
    row = await webhook(session, webhook_id, lock=True)
    before = (row.url, row.events, row.name, row.disabled_at)
    if fields.url is not UNSET:
        row.url = rules.check_url(fields.url)
    if fields.event_types is not UNSET:
        row.events = rules.check_event_types(fields.event_types)
    if fields.name is not UNSET:
        row.name = rules.check_name(fields.name)
    if fields.enabled is not UNSET and fields.enabled is (row.disabled_at is not None):
        row.disabled_at = None if fields.enabled else now()
        row.problem = row.failing_since = None
    if before != (row.url, row.events, row.name, row.disabled_at):
        row.updated_at = now()
    return row


async def rotate(
    session: AsyncSession, sealer: Sealer, webhook_id: str, wanted: SecretRotation
) -> tuple[WebhookRow, str]:
    """A new secret; the old one signs beside it for a day, or is gone at once.

    Raises:
        NotFound, InvalidRequest.
        CannotOpen: the old secret was sealed with a key that is not known, and should go on.
    """
    row = await webhook(session, webhook_id, lock=True)
    row.previous_secret = row.previous_until = None
    moment = now()
    if wanted.keep_old_secret_active_for_24_hours:
        old = sealer.open(row.secret, place(row.id, "secret"))
        row.previous_secret = sealer.seal(old, place(row.id, "previous_secret"))
        row.previous_until = moment + OVERLAP
    secret = _new_secret(row, sealer)
    row.updated_at = moment
    return row, secret


async def delete(session: AsyncSession, webhook_id: str) -> WebhookRow:
    """Nothing more is sent, and its secrets are gone. Raises NotFound."""
    row = await webhook(session, webhook_id, lock=True)
    row.deleted_at = now()
    row.secret, row.previous_secret = b"", None
    pending = sqlalchemy.update(WebhookDeliveryRow).where(
        WebhookDeliveryRow.webhook_id == row.id, WebhookDeliveryRow.next_at.is_not(None)
    )
    await session.execute(pending.values(next_at=None, last_error="The webhook was deleted."))
    return row


def secrets_of(row: WebhookRow, sealer: Sealer, moment: datetime) -> list[str]:
    """Those that sign now, the newest first. Raises CannotOpen."""
    secrets = [sealer.open(row.secret, place(row.id, "secret"))]
    if row.previous_secret is not None and row.previous_until is not None and row.previous_until > moment:
        secrets.append(sealer.open(row.previous_secret, place(row.id, "previous_secret")))
    return secrets


def place(row_id: str, field: str) -> Place:
    """Where a sealed value belongs."""
    return Place(WebhookRow.__tablename__, row_id, field)


def _new_secret(row: WebhookRow, sealer: Sealer) -> str:
    if not sealer:
        raise NoEncryptionKey("the secret that signs deliveries")
    secret = new_secret()
    row.secret = sealer.seal(secret, place(row.id, "secret"))
    row.secret_hint = hint_of(secret)
    return secret
