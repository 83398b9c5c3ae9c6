"""/v1/webhook_endpoints, as OpenAI's SDKs have it, and /v1/webhooks: the same."""

from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.audit import log as audit
from gateway.db.pages import fetch_page
from gateway.db.tables import WebhookDeliveryRow, WebhookRow
from gateway.errors import Conflict, UpstreamFailed
from gateway.kit.clock import now, unix
from gateway.kit.ids import new_id
from gateway.kit.sealing import CannotOpen
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor
from gateway.protocol.webhooks import (
    EVENT_TYPES,
    EventTypeList,
    SecretRotation,
    Webhook,
    WebhookCreate,
    WebhookDelivery,
    WebhookTest,
    WebhookTestCreate,
    WebhookUpdate,
)
from gateway.routes.callers import Admin, Sv
from gateway.services import Services
from gateway.webhooks import repository, rules
from gateway.webhooks.outbox import Event, body_of

FINAL = {"x-should-retry": "false"}
ALL = ["/v1/webhook_endpoints", "/v1/webhooks"]
ONE = [f"{path}/{{webhook_id:str}}" for path in ALL]

decode_create = msgspec.json.Decoder(WebhookCreate)
decode_update = msgspec.json.Decoder(WebhookUpdate)
decode_rotation = msgspec.json.Decoder(SecretRotation)
decode_test = msgspec.json.Decoder(WebhookTestCreate)


@get("/v1/webhook_event_types")
async def list_event_types(admin: Admin) -> EventTypeList:
    return EventTypeList(data=list(EVENT_TYPES))


@get(ALL)
async def list_webhooks(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """Newest first."""
    async with sv.database.session() as session:
        page = await fetch_page(session, repository.live(), WebhookRow, cursor(query))
    return cursor_list([_seen_by(admin, row) for row in page.rows], has_more=page.has_more)


@post(ALL, status_code=200)
async def create_webhook(sv: Sv, admin: Admin, body: RawBody) -> Webhook:
    """The only time that the secret is shown."""
    wanted = decode(decode_create, body)
    async with sv.database.session() as session:
        row, secret = await repository.create(session, sv.sealer, wanted)
        _tell(session, admin, sv, row, {"created": True} | _shown(row))
    return msgspec.structs.replace(of_row(row), signing_secret=secret)


@get(ONE)
async def retrieve_webhook(sv: Sv, admin: Admin, webhook_id: FromPath[str]) -> Webhook:
    async with sv.database.session() as session:
        return _seen_by(admin, await repository.webhook(session, webhook_id))


@post(ONE, status_code=200)
async def update_webhook(sv: Sv, admin: Admin, webhook_id: FromPath[str], body: RawBody) -> Webhook:
    fields = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await repository.update(session, webhook_id, fields)
        _tell(session, admin, sv, row, _shown(row) | {"enabled": row.disabled_at is None})
    return of_row(row)


@delete(ONE, status_code=200)
async def delete_webhook(sv: Sv, admin: Admin, webhook_id: FromPath[str]) -> Deleted:
    """What was not delivered yet is given up."""
    async with sv.database.session() as session:
        row = await repository.delete(session, webhook_id)
        _tell(session, admin, sv, row, {"deleted": True})
    return Deleted(id=webhook_id, object="webhook_endpoint.deleted")


@post([f"{path}/rotate_secret" for path in ONE], status_code=200)
async def rotate_secret(sv: Sv, admin: Admin, webhook_id: FromPath[str], body: RawBody) -> Webhook:
    """The new secret signs from now on; with `keep_old_secret_active_for_24_hours` the old one does so, too."""
    wanted = decode(decode_rotation, body.strip() or b"{}")
    async with sv.database.session() as session:
        try:
            row, secret = await repository.rotate(session, sv.sealer, webhook_id, wanted)
        except CannotOpen as error:
            message = f"The old secret cannot go on: {error}. Rotate it without keep_old_secret_active_for_24_hours."
            raise Conflict(message, headers=FINAL) from None
        _tell(session, admin, sv, row, {"secret_rotated": True} | msgspec.to_builtins(wanted))
    return msgspec.structs.replace(of_row(row), signing_secret=secret)


@post([f"{path}/test" for path in ONE], status_code=200)
async def test_webhook(sv: Sv, admin: Admin, webhook_id: FromPath[str], body: RawBody) -> WebhookTest:
    """Send a sample now, once, also when the webhook is disabled. Nothing of it is kept.

    Raises:
        UpstreamFailed: nothing answered.
        Conflict: the signing secret cannot be opened.
    """
    from gateway.webhooks.sending import send  # an HTTP client that a gateway needs for this alone

    wanted = decode(decode_test, body.strip() or b"{}")
    async with sv.database.session() as session:
        row = await repository.webhook(session, webhook_id)
    kind = rules.check_event_type(wanted.event_type, "event_type") if wanted.event_type else row.events[0]
    try:
        secrets = repository.secrets_of(row, sv.sealer, now())
    except CannotOpen as error:
        raise Conflict(f"The signing secret cannot be opened: {error}. Rotate it.", headers=FINAL) from None
    sample = Event(kind, now(), {"id": new_id("sample_"), "test": True})  # type: ignore[arg-type]
    answer = await send(row.url, secrets, body_of(sample, new_id("evt_")))
    if answer.status is None:
        raise UpstreamFailed(f"The webhook gave no answer. {answer.error}", code="webhook_unreachable", headers=FINAL)
    return WebhookTest(webhook_endpoint_id=row.id, event_type=kind, status_code=answer.status, detail=answer.error)


@get([f"{path}/deliveries" for path in ONE])
async def list_deliveries(sv: Sv, admin: Admin, webhook_id: FromPath[str], query: QueryParams) -> CursorList:
    """Newest first."""
    async with sv.database.session() as session:
        await repository.webhook(session, webhook_id)
        page = await fetch_page(session, repository.deliveries(webhook_id), WebhookDeliveryRow, cursor(query))
    return cursor_list([_delivery(row) for row in page.rows], has_more=page.has_more)


def _seen_by(admin: Administrator, row: WebhookRow) -> Webhook:
    """Who may only read is not shown the path of its URL: of chat services it is what lets anybody write there."""
    shown = of_row(row)
    return shown if admin.role == "owner" else msgspec.structs.replace(shown, url=rules.origin_of(row.url))


def of_row(row: WebhookRow) -> Webhook:
    return Webhook(
        id=row.id,
        created_at=unix(row.created_at),
        updated_at=unix(row.updated_at),
        name=row.name or rules.host_of(row.url),
        url=row.url,
        event_types=row.events,
        signing_secret_hint=row.secret_hint,
        enabled=row.disabled_at is None,
        failing_since=unix(row.failing_since) if row.failing_since else None,
        problem=row.problem,
    )


def _delivery(row: WebhookDeliveryRow) -> WebhookDelivery:
    ended = "delivered" if row.delivered_at else "failed"
    return WebhookDelivery(
        id=row.id,
        created_at=unix(row.created_at),
        event_id=row.event_id,
        event_type=row.type,
        status="pending" if row.next_at else ended,
        attempts=row.attempts,
        last_status_code=row.last_status,
        last_error=row.last_error,
        next_attempt_at=unix(row.next_at) if row.next_at else None,
        delivered_at=unix(row.delivered_at) if row.delivered_at else None,
        event=row.body,
    )


def _shown(row: WebhookRow) -> dict[str, Any]:
    """The audit log shows no URL: those of chat services are secrets."""
    return {"host": rules.host_of(row.url), "event_types": row.events, "name": row.name}


def _tell(session: AsyncSession, admin: Administrator, sv: Services, row: WebhookRow, changes: dict[str, Any]) -> None:
    owner = audit.owner_of(sv.settings.organization, None)
    audit.write_change(session, admin.actor, owner, row.id, {"webhook": {"id": row.id} | changes})
