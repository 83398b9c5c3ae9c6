"""/v1/budgets (an extension): what a key, a project or everybody may spend."""

from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from msgspec import UNSET
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.audit import log as audit
from gateway.budgets import repository
from gateway.budgets.repository import State
from gateway.db.pages import fetch_page
from gateway.db.tables import ApiKeyRow, BudgetEventRow, BudgetRow
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.keys import repository as keys
from gateway.kit.clock import now, unix
from gateway.kit.ids import new_id
from gateway.kit.money import usd_from_nano
from gateway.projects import repository as projects
from gateway.protocol.budget_rules import check_limit, check_name, check_thresholds, scope_of
from gateway.protocol.budgets import (
    BudgetCreate,
    BudgetEvent,
    BudgetObject,
    BudgetUpdate,
    BudgetWindow,
    CurrentBudget,
    CurrentBudgetList,
)
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted, cursor_list
from gateway.protocol.queries import array, choice, cursor
from gateway.routes.callers import Admin, Caller, Sv
from gateway.services import Services

SCOPES = ("organization", "project", "api_key")

decode_create = msgspec.json.Decoder(BudgetCreate)
decode_update = msgspec.json.Decoder(BudgetUpdate)


@get("/v1/budgets")
async def list_budgets(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """Oldest first; those made as spend limits and alerts, too."""
    async with sv.database.session() as session:
        page = await fetch_page(session, _filtered(query), BudgetRow, cursor(query, order="asc"))
        shown = await _shown(session, page.rows)
    return cursor_list(shown, has_more=page.has_more)


@post("/v1/budgets", status_code=200)
async def create_budget(sv: Sv, admin: Admin, body: RawBody) -> BudgetObject:
    """In force in this process when the call ends, everywhere within a second. What was spent in its window counts,
    but a total begins now."""
    wanted = decode(decode_create, body)
    row = BudgetRow(
        id=new_id("budget_"),
        created_at=now(),
        name=check_name(wanted.name),
        scope=scope_of(wanted),
        period=wanted.period,
        limit_nano=check_limit(wanted.limit_usd),
        hard=wanted.hard,
        thresholds=check_thresholds(wanted.thresholds),
        source="budgets",
    )
    async with sv.database.session() as session:
        await _aim(session, row, wanted)
        await repository.add(session, row)
        tell(session, admin, sv, row, {"created": True} | given(row))
        [shown] = await _shown(session, [row])
    await sv.mirrors.catch_up()
    return shown


@get("/v1/budgets/current")
async def list_current(sv: Sv, caller: Caller) -> CurrentBudgetList:
    """What binds the key that asks, and what is left: for applications that want to show it."""
    moment = now()
    async with sv.database.session() as session:
        rows = list(await session.scalars(repository.binding(caller.project_id, caller.id)))
        found = await repository.states(session, rows, moment)
    return CurrentBudgetList(data=[_current(row, found[row.id]) for row in rows])


@get("/v1/budgets/{budget_id:str}")
async def retrieve_budget(sv: Sv, admin: Admin, budget_id: FromPath[str]) -> BudgetObject:
    async with sv.database.session() as session:
        [shown] = await _shown(session, [await repository.budget(session, budget_id)])
    return shown


@post("/v1/budgets/{budget_id:str}", status_code=200)
async def update_budget(sv: Sv, admin: Admin, budget_id: FromPath[str], body: RawBody) -> BudgetObject:
    """What is given takes the place of what was; what is spent stays. In force everywhere within a second."""
    fields = decode(decode_update, body)
    async with sv.database.session() as session:
        row = await _own(session, budget_id)
        _write(row, fields)
        await repository.changed(session, row)
        tell(session, admin, sv, row, given(row))
        [shown] = await _shown(session, [row])
    await sv.mirrors.catch_up()
    return shown


@delete("/v1/budgets/{budget_id:str}", status_code=200)
async def delete_budget(sv: Sv, admin: Admin, budget_id: FromPath[str]) -> Deleted:
    """It binds nobody any more, everywhere within a second."""
    async with sv.database.session() as session:
        row = await _own(session, budget_id)
        await repository.delete(session, row)
        tell(session, admin, sv, row, {"deleted": True})
    await sv.mirrors.catch_up()
    return Deleted(id=budget_id, object="budget.deleted")


@get("/v1/budgets/{budget_id:str}/events")
async def list_events(sv: Sv, admin: Admin, budget_id: FromPath[str], query: QueryParams) -> CursorList:
    """Thresholds that were reached, newest first."""
    async with sv.database.session() as session:
        await repository.budget(session, budget_id)
        page = await fetch_page(session, repository.events(budget_id), BudgetEventRow, cursor(query))
    return cursor_list([_event(row) for row in page.rows], has_more=page.has_more)


def tell(session: AsyncSession, admin: Administrator, sv: Services, row: BudgetRow, changes: dict[str, Any]) -> None:
    """The audit log's entry: an update of whom the budget is for."""
    owner = audit.owner_of(sv.settings.organization, row.project_id, row.api_key_id)
    audit.write_change(session, admin.actor, owner, row.id, {row.source.removesuffix("s"): {"id": row.id} | changes})


def given(row: BudgetRow) -> dict[str, Any]:
    """What a person says of a budget."""
    return {
        "name": row.name,
        "period": row.period,
        "limit_usd": usd_from_nano(row.limit_nano),
        "hard": row.hard,
        "thresholds": row.thresholds,
    }


def _filtered(query: QueryParams) -> Select[BudgetRow]:
    rows = repository.live()
    if project_ids := array(query, "project_ids"):
        rows = rows.where(BudgetRow.project_id.in_(project_ids))
    if key_ids := array(query, "api_key_ids"):
        rows = rows.where(BudgetRow.api_key_id.in_(key_ids))
    if query.get("scope", None):
        rows = rows.where(BudgetRow.scope == choice(query, "scope", SCOPES, ""))
    return rows


async def _aim(session: AsyncSession, row: BudgetRow, wanted: BudgetCreate) -> None:
    """Whom it is for. Raises InvalidRequest, NotFound."""
    if row.scope == "organization":
        return
    if wanted.project_id is not None:
        row.project_id = (await projects.active_project(session, wanted.project_id)).id
    if row.scope == "api_key":
        key = await session.get(ApiKeyRow, wanted.api_key_id)
        if key is None or key.project_id is None or row.project_id not in (None, key.project_id):
            where = f"in the project '{row.project_id}'" if row.project_id else "of a project"
            raise NotFound(f"No API key with id '{wanted.api_key_id}' {where}.", param="api_key_id")
        if key.revoked_at is not None:
            raise _refused("api_key_id", "this key is revoked.")
        row.api_key_id, row.project_id = key.id, (await projects.active_project(session, key.project_id)).id


async def _own(session: AsyncSession, budget_id: str) -> BudgetRow:
    """One that was made here. Raises NotFound, Conflict."""
    row = await repository.budget(session, budget_id, lock=True)
    if row.source != "budgets":
        where = f"/v1/organization/{f'projects/{row.project_id}/' if row.project_id else ''}{row.source}"
        which = f"s/{row.id}" if row.source == "spend_alert" else ""
        raise Conflict(f"This budget is changed where it was made: {where}{which}.", headers=repository.FINAL)
    return row


def _write(row: BudgetRow, fields: BudgetUpdate) -> None:
    """Raises InvalidRequest."""
    if not isinstance(fields.limit_usd, msgspec.UnsetType):
        row.limit_nano = check_limit(fields.limit_usd)
    if fields.hard is not UNSET:
        row.hard = fields.hard
    if fields.thresholds is not UNSET:
        row.thresholds = check_thresholds(fields.thresholds)
    if fields.name is not UNSET:
        row.name = check_name(fields.name)


async def _shown(session: AsyncSession, rows: Sequence[BudgetRow]) -> list[BudgetObject]:
    found = await repository.states(session, rows, now())
    names = await keys.names(session, [row.api_key_id for row in rows if row.api_key_id])
    return [_object(row, found[row.id], names.get(row.api_key_id or "")) for row in rows]


def _object(row: BudgetRow, state: State, key_name: str | None) -> BudgetObject:
    return BudgetObject(
        id=row.id,
        created_at=unix(row.created_at),
        name=row.name,
        scope=row.scope,
        project_id=row.project_id,
        api_key_id=row.api_key_id,
        api_key_name=key_name,
        period=row.period,
        limit_usd=usd_from_nano(row.limit_nano),
        hard=row.hard,
        thresholds=row.thresholds,
        source=row.source,
        window=BudgetWindow(
            starts_at=unix(state.starts_at),
            ends_at=unix(state.ends_at) if state.ends_at else None,
            spent_usd=usd_from_nano(state.spent),
            leased_usd=usd_from_nano(state.leased),
            remaining_usd=usd_from_nano(max(row.limit_nano - state.spent, 0)),
            percent=round(100 * state.spent / row.limit_nano, 2) if row.limit_nano else 100.0,
        ),
    )


def _current(row: BudgetRow, state: State) -> CurrentBudget:
    left = max(row.limit_nano - state.spent, 0)
    own = row.scope != "organization"
    return CurrentBudget(
        name=row.name if own else None,
        scope=row.scope,
        period=row.period,
        starts_at=unix(state.starts_at),
        ends_at=unix(state.ends_at) if state.ends_at else None,
        limit_usd=usd_from_nano(row.limit_nano) if own else None,
        spent_usd=usd_from_nano(state.spent) if own else None,
        remaining_usd=usd_from_nano(left) if own else None,
        exhausted=not left,
    )


def _event(row: BudgetEventRow) -> BudgetEvent:
    return BudgetEvent(
        id=row.id,
        created_at=unix(row.created_at),
        budget_id=row.budget_id,
        window_starts_at=unix(row.starts_at),
        threshold=row.threshold,
        limit_usd=usd_from_nano(row.limit_nano),
        spent_usd=usd_from_nano(row.spent_nano),
        announced_at=unix(row.announced_at) if row.announced_at else None,
    )


def _refused(param: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid '{param}': {rule}", param=param)
