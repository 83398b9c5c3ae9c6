"""/v1/organization/spend_alerts and those of projects: soft budgets for each month with one threshold.

Nobody here sends mail: who is to be told stands in `data.notification_channel` of the webhook `budget.threshold_reached`.
"""

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.budgets import repository
from gateway.db.pages import fetch_page
from gateway.db.tables import BudgetRow
from gateway.errors import NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.projects import repository as projects
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor
from gateway.protocol.spend_limits import (
    CENT,
    NotificationChannel,
    SpendAlert,
    SpendAlertFields,
    check_channel,
    nano_of_cents,
)
from gateway.routes.budgets import given, tell
from gateway.routes.callers import Admin, Sv
from gateway.services import Services

SOURCE = "spend_alert"
OF_ORGANIZATION = "/v1/organization/spend_alerts"
OF_PROJECT = "/v1/organization/projects/{project_id:str}/spend_alerts"
ONE = "/{alert_id:str}"

decode_alert = msgspec.json.Decoder(SpendAlertFields)


@get(OF_ORGANIZATION)
async def list_organization_alerts(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    return await _list(sv, None, query)


@post(OF_ORGANIZATION, status_code=200)
async def create_organization_alert(sv: Sv, admin: Admin, body: RawBody) -> SpendAlert:
    return await _create(sv, admin, None, body)


@get(OF_ORGANIZATION + ONE)
async def retrieve_organization_alert(sv: Sv, admin: Admin, alert_id: FromPath[str]) -> SpendAlert:
    return await _retrieve(sv, None, alert_id)


@post(OF_ORGANIZATION + ONE, status_code=200)
async def update_organization_alert(sv: Sv, admin: Admin, alert_id: FromPath[str], body: RawBody) -> SpendAlert:
    return await _update(sv, admin, (None, alert_id), body)


@delete(OF_ORGANIZATION + ONE, status_code=200)
async def delete_organization_alert(sv: Sv, admin: Admin, alert_id: FromPath[str]) -> Deleted:
    return await _delete(sv, admin, None, alert_id)


@get(OF_PROJECT)
async def list_project_alerts(sv: Sv, admin: Admin, project_id: FromPath[str], query: QueryParams) -> CursorList:
    return await _list(sv, project_id, query)


@post(OF_PROJECT, status_code=200)
async def create_project_alert(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> SpendAlert:
    return await _create(sv, admin, project_id, body)


@get(OF_PROJECT + ONE)
async def retrieve_project_alert(
    sv: Sv, admin: Admin, project_id: FromPath[str], alert_id: FromPath[str]
) -> SpendAlert:
    return await _retrieve(sv, project_id, alert_id)


@post(OF_PROJECT + ONE, status_code=200)
async def update_project_alert(
    sv: Sv, admin: Admin, project_id: FromPath[str], alert_id: FromPath[str], body: RawBody
) -> SpendAlert:
    return await _update(sv, admin, (project_id, alert_id), body)


@delete(OF_PROJECT + ONE, status_code=200)
async def delete_project_alert(sv: Sv, admin: Admin, project_id: FromPath[str], alert_id: FromPath[str]) -> Deleted:
    return await _delete(sv, admin, project_id, alert_id)


async def _list(sv: Services, project_id: str | None, query: QueryParams) -> CursorList:
    wanted = cursor(query, order="asc", lowest=0)
    async with sv.database.session() as session:
        if project_id is not None:
            await projects.project(session, project_id)
        page = await fetch_page(session, _of(project_id), BudgetRow, wanted)
    return cursor_list([_shown(row) for row in page.rows], has_more=page.has_more)


async def _create(sv: Services, admin: Administrator, project_id: str | None, body: bytes) -> SpendAlert:
    row = BudgetRow(
        id=new_id("alert_"),
        created_at=now(),
        scope="organization" if project_id is None else "project",
        project_id=project_id,
        period="month",
        hard=False,
        thresholds=[100],
        source=SOURCE,
    )
    _write(row, body)
    async with sv.database.session() as session:
        if project_id is not None:
            await projects.active_project(session, project_id)
        await repository.add(session, row)
        tell(session, admin, sv, row, {"created": True} | given(row))
    await sv.mirrors.catch_up()
    return _shown(row)


async def _retrieve(sv: Services, project_id: str | None, alert_id: str) -> SpendAlert:
    async with sv.database.session() as session:
        return _shown(await _existing(session, project_id, alert_id))


async def _update(sv: Services, admin: Administrator, place: tuple[str | None, str], body: bytes) -> SpendAlert:
    async with sv.database.session() as session:
        row = await _existing(session, *place)
        _write(row, body)
        await repository.changed(session, row)
        tell(session, admin, sv, row, given(row))
    await sv.mirrors.catch_up()
    return _shown(row)


async def _delete(sv: Services, admin: Administrator, project_id: str | None, alert_id: str) -> Deleted:
    async with sv.database.session() as session:
        row = await _existing(session, project_id, alert_id)
        await repository.delete(session, row)
        tell(session, admin, sv, row, {"deleted": True})
    await sv.mirrors.catch_up()
    return Deleted(id=row.id, object=f"{row.scope}.spend_alert.deleted")


def _of(project_id: str | None) -> Select[BudgetRow]:
    return repository.live([SOURCE]).where(BudgetRow.project_id.is_not_distinct_from(project_id))


async def _existing(session: AsyncSession, project_id: str | None, alert_id: str) -> BudgetRow:
    """Raises NotFound."""
    query = _of(project_id).where(BudgetRow.id == alert_id)
    row = await session.scalar(query.with_for_update(key_share=True))
    if row is None:
        raise NotFound(f"No spend alert with id '{alert_id}' here.", param="alert_id")
    return row


def _write(row: BudgetRow, body: bytes) -> None:
    """Raises InvalidRequest."""
    wanted = decode(decode_alert, body)
    row.limit_nano = nano_of_cents(wanted.threshold_amount, lowest=0)
    row.notification = msgspec.to_builtins(check_channel(wanted.notification_channel))


def _shown(row: BudgetRow) -> SpendAlert:
    return SpendAlert(
        id=row.id,
        object=f"{row.scope}.spend_alert",
        threshold_amount=row.limit_nano // CENT,
        notification_channel=msgspec.convert(row.notification, NotificationChannel),
    )
