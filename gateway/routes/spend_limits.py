"""/v1/organization/spend_limit and /v1/organization/projects/{project}/spend_limit: a hard budget for each month."""

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.budgets import repository
from gateway.db.tables import BudgetRow
from gateway.errors import NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.projects import repository as projects
from gateway.protocol.budgets import THRESHOLDS
from gateway.protocol.decode import decode
from gateway.protocol.spend_limits import (
    CENT,
    Enforcement,
    SpendLimit,
    SpendLimitDeleted,
    SpendLimitUpdate,
    nano_of_cents,
)
from gateway.routes.budgets import given, tell
from gateway.routes.callers import Admin, Sv
from gateway.services import Services

SOURCE = "spend_limit"
OF_ORGANIZATION = "/v1/organization/spend_limit"
OF_PROJECT = "/v1/organization/projects/{project_id:str}/spend_limit"

decode_limit = msgspec.json.Decoder(SpendLimitUpdate)


@get(OF_ORGANIZATION)
async def retrieve_organization_limit(sv: Sv, admin: Admin) -> SpendLimit:
    return await _retrieve(sv, None)


@post(OF_ORGANIZATION, status_code=200)
async def update_organization_limit(sv: Sv, admin: Admin, body: RawBody) -> SpendLimit:
    return await _update(sv, admin, None, body)


@delete(OF_ORGANIZATION, status_code=200)
async def delete_organization_limit(sv: Sv, admin: Admin) -> SpendLimitDeleted:
    return await _delete(sv, admin, None)


@get(OF_PROJECT)
async def retrieve_project_limit(sv: Sv, admin: Admin, project_id: FromPath[str]) -> SpendLimit:
    return await _retrieve(sv, project_id)


@post(OF_PROJECT, status_code=200)
async def update_project_limit(sv: Sv, admin: Admin, project_id: FromPath[str], body: RawBody) -> SpendLimit:
    return await _update(sv, admin, project_id, body)


@delete(OF_PROJECT, status_code=200)
async def delete_project_limit(sv: Sv, admin: Admin, project_id: FromPath[str]) -> SpendLimitDeleted:
    return await _delete(sv, admin, project_id)


async def _retrieve(sv: Services, project_id: str | None) -> SpendLimit:
    async with sv.database.session() as session:
        return await _shown(session, await _existing(session, project_id))


async def _update(sv: Services, admin: Administrator, project_id: str | None, body: bytes) -> SpendLimit:
    """The one there is gets another amount, or there is one now."""
    wanted = decode(decode_limit, body)
    limit = nano_of_cents(wanted.threshold_amount, lowest=1)
    async with sv.database.session() as session:
        if project_id is not None:
            await projects.active_project(session, project_id)
        await repository.lock(session)
        row = await _find(session, project_id)
        if row is None:
            row = _new(project_id, limit)
            await repository.add(session, row)
        else:
            row.limit_nano = limit
            await repository.changed(session, row)
        tell(session, admin, sv, row, given(row))
        shown = await _shown(session, row)
    await sv.mirrors.catch_up()
    return shown


async def _delete(sv: Services, admin: Administrator, project_id: str | None) -> SpendLimitDeleted:
    async with sv.database.session() as session:
        row = await _existing(session, project_id)
        await repository.delete(session, row)
        tell(session, admin, sv, row, {"deleted": True})
    await sv.mirrors.catch_up()
    return SpendLimitDeleted(object=f"{row.scope}.spend_limit.deleted")


def _new(project_id: str | None, limit: int) -> BudgetRow:
    return BudgetRow(
        id=new_id("budget_"),
        created_at=now(),
        scope="organization" if project_id is None else "project",
        project_id=project_id,
        period="month",
        limit_nano=limit,
        hard=True,
        thresholds=list(THRESHOLDS),
        source=SOURCE,
    )


async def _find(session: AsyncSession, project_id: str | None) -> BudgetRow | None:
    query = repository.live([SOURCE]).where(BudgetRow.project_id.is_not_distinct_from(project_id))
    return await session.scalar(query.with_for_update(key_share=True))


async def _existing(session: AsyncSession, project_id: str | None) -> BudgetRow:
    """Raises NotFound."""
    if project_id is not None:
        await projects.project(session, project_id)
    row = await _find(session, project_id)
    if row is None:
        raise NotFound(f"The {'organization' if project_id is None else 'project'} has no spend limit.")
    return row


async def _shown(session: AsyncSession, row: BudgetRow) -> SpendLimit:
    """It counts as enforcing when less than a cent, the unit of this API, is left."""
    state = (await repository.states(session, [row], now()))[row.id]
    is_full = row.limit_nano - state.spent < CENT
    return SpendLimit(
        object=f"{row.scope}.spend_limit",
        threshold_amount=row.limit_nano // CENT,
        enforcement=Enforcement(status="enforcing" if is_full else "inactive"),
    )
