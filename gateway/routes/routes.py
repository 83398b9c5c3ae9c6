"""/v1/routes (an extension): names that clients call, what answers them, and the way back."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.audit import log as audit
from gateway.db.tables import RouteRevisionRow, RouteRow
from gateway.errors import ECHO_LIMIT, Conflict, InvalidRequest
from gateway.kit.clock import unix
from gateway.projects import repository as projects
from gateway.protocol.decode import decode
from gateway.protocol.lists import Cursor, CursorList, Deleted, cursor_list
from gateway.protocol.queries import cursor, text
from gateway.protocol.route_rules import check_name, check_spec
from gateway.protocol.routes import RouteCreate, RouteObject, RouteRevision, RouteRollback, RouteSpec, RouteUpdate
from gateway.routes.callers import Admin, Sv
from gateway.routes.route_judges import with_rules
from gateway.routing import routes
from gateway.routing.route_book import Route, of_row, restored
from gateway.routing.route_checks import check_rules
from gateway.routing.route_targets import Uncallable, repeated, uncallable
from gateway.services import Services

decode_create = msgspec.json.Decoder(RouteCreate)
decode_update = msgspec.json.Decoder(RouteUpdate)
decode_rollback = msgspec.json.Decoder(RouteRollback)

UNREADABLE = "its current revision was written by another version of the service and cannot be read by this one"


@get("/v1/routes")
async def list_routes(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """Those of the settings are the oldest. `project_id` keeps the routes of that project alone."""
    wanted = text(query, "project_id")
    await sv.mirrors.catch_up()
    async with sv.database.session() as session:
        rows = list(await session.execute(routes.current()))
    shown = [
        *(_shown(sv, route) for route in sv.route_book.configured),
        *(_of_row(sv, row, spec) for row, spec in rows),
    ]
    kept = [route for route in shown if wanted in (None, route.project_id)]
    return _page(kept, cursor(query, order="asc"))


@post("/v1/routes", status_code=200)
async def create_route(sv: Sv, admin: Admin, body: RawBody) -> RouteObject:
    """In force in this process when the call ends, everywhere within a second."""
    wanted = decode(decode_create, body)
    spec = RouteSpec(**{name: getattr(wanted, name) for name in RouteSpec.__struct_fields__})
    check_name(wanted.name)
    check_spec(spec)
    check_rules(spec.checks)
    await sv.mirrors.catch_up()  # a model that has just been trained may be a target
    async with sv.database.session() as session:
        if wanted.project_id is not None:
            await projects.active_project(session, wanted.project_id)
        _check_models(sv, spec, wanted.project_id, RouteSpec.__struct_fields__)
        spec = await with_rules(session, spec, wanted.project_id)
        row = await routes.create(session, wanted.name, wanted.project_id, spec, created_by=admin.id)
        _tell(session, admin, sv, row, {"created": True, "spec": msgspec.to_builtins(spec)})
    await sv.mirrors.catch_up()
    return _shown(sv, of_row(row, spec))


@get("/v1/routes/{route_id:str}")
async def retrieve_route(sv: Sv, admin: Admin, route_id: FromPath[str]) -> RouteObject:
    await sv.mirrors.catch_up()
    if found := _configured(sv, route_id):
        return _shown(sv, found)
    async with sv.database.session() as session:
        row = await routes.route(session, route_id)
        return _of_row(sv, row, (await routes.revision(session, row, row.revision)).spec)


@post("/v1/routes/{route_id:str}", status_code=200)
async def update_route(sv: Sv, admin: Admin, route_id: FromPath[str], body: RawBody) -> RouteObject:
    """What is given takes the place of what was there, as a new revision; two at once both land, one after the other.

    A change to what the route does already, such as one that an SDK sends again, makes no revision: the one before the
    current stays the way back.
    """
    wanted = decode(decode_update, body)
    if not _given(wanted):
        raise InvalidRequest(f"There is nothing to change: give one of {', '.join(RouteSpec.__struct_fields__)}.")
    _refuse_configured(sv, route_id)
    await sv.mirrors.catch_up()
    async with sv.database.session() as session:
        row = await _locked(session, route_id, wanted.if_revision)
        before = _readable((await routes.revision(session, row, row.revision)).spec)
        spec = msgspec.structs.replace(before, **_given(wanted))
        check_spec(spec)
        _check_models(sv, spec, row.project_id, _given(wanted))
        if not isinstance(wanted.checks, msgspec.UnsetType):
            check_rules(spec.checks)
            spec = await with_rules(session, spec, row.project_id)
        if spec != before:
            await routes.revise(session, row, spec, created_by=admin.id)
            _tell(session, admin, sv, row, {"revision": row.revision, "spec": msgspec.to_builtins(spec)})
    await sv.mirrors.catch_up()
    return _shown(sv, of_row(row, spec))


@delete("/v1/routes/{route_id:str}", status_code=200)
async def delete_route(sv: Sv, admin: Admin, route_id: FromPath[str]) -> Deleted:
    """Its name means what it meant without it: a route of the settings, a model, or nothing."""
    _refuse_configured(sv, route_id)
    async with sv.database.session() as session:
        row = await routes.route(session, route_id, lock=True)
        await routes.delete(session, row)
        _tell(session, admin, sv, row, {"deleted": True})
    await sv.mirrors.catch_up()
    return Deleted(id=route_id, object="route.deleted")


@get("/v1/routes/{route_id:str}/revisions")
async def list_revisions(sv: Sv, admin: Admin, route_id: FromPath[str], query: QueryParams) -> CursorList:
    """Newest first; a route of the settings has none."""
    if _configured(sv, route_id):
        return cursor_list([], has_more=False)
    wanted = cursor(query)
    async with sv.database.session() as session:
        row = await routes.route(session, route_id)
        rows = await routes.revisions(session, row, wanted, _number(row, wanted.after))
    shown = [_revision(each) for each in rows[: wanted.limit]]
    return cursor_list(shown, has_more=len(rows) > wanted.limit)


@post("/v1/routes/{route_id:str}/rollback", status_code=200)
async def roll_route_back(sv: Sv, admin: Admin, route_id: FromPath[str], body: RawBody) -> RouteObject:
    """A new revision that repeats an earlier one; without `revision` the one before the current, and when that is itself
    a rollback, the one before what it repeats: a second call goes one further back.

    An earlier revision may name models that have gone since: it is refused only when none is left that can be called.
    """
    wanted = decode(decode_rollback, body.strip() or b"{}")
    _refuse_configured(sv, route_id)
    await sv.mirrors.catch_up()
    async with sv.database.session() as session:
        row = await _locked(session, route_id, wanted.if_revision)
        number = await routes.before(session, row) if wanted.revision is None else wanted.revision
        _check_is_earlier(row, number, is_given=wanted.revision is not None)
        spec = _readable((await routes.revision(session, row, number)).spec)
        _check_one_is_left(sv, row, number, spec)
        await routes.revise(session, row, spec, created_by=admin.id, restores=number)
        _tell(session, admin, sv, row, {"revision": row.revision, "restores": number})
    await sv.mirrors.catch_up()
    return _shown(sv, of_row(row, spec))


def _tell(session: AsyncSession, admin: Administrator, sv: Services, row: RouteRow, changes: dict[str, Any]) -> None:
    owner = audit.owner_of(sv.settings.organization, row.project_id)
    audit.write_change(session, admin.actor, owner, row.id, {"route": {"id": row.id, "name": row.name} | changes})


async def _locked(session: AsyncSession, route_id: str, if_revision: int | None) -> RouteRow:
    """Raises NotFound, Conflict."""
    row = await routes.route(session, route_id, lock=True)
    if if_revision not in (None, row.revision):
        message = f"The route `{row.name}` is at revision {row.revision}, not {if_revision}: read it again."
        raise Conflict(message, param="if_revision", headers=routes.FINAL)
    return row


def _check_is_earlier(row: RouteRow, number: int, *, is_given: bool) -> None:
    """Raises Conflict."""
    if number == 0 and not is_given:
        message = f"The route `{row.name}` does what its first revision did: there is none to go back to."
        raise Conflict(message, param="revision", headers=routes.FINAL)
    if number == row.revision:
        message = f"Revision {number} of the route `{row.name}` is in force already."
        raise Conflict(message, param="revision", headers=routes.FINAL)


def _readable(spec: dict[str, Any]) -> RouteSpec:
    """Raises Conflict."""
    try:
        return restored(spec)
    except msgspec.ValidationError:
        message = f"The route cannot be changed from here: {UNREADABLE}. Roll it back, or use that version."
        raise Conflict(message, headers=routes.FINAL) from None


def _given(wanted: RouteUpdate) -> dict[str, Any]:
    values = {name: getattr(wanted, name) for name in RouteSpec.__struct_fields__}
    return {name: value for name, value in values.items() if value is not msgspec.UNSET}


def _check_models(sv: Services, spec: RouteSpec, project_id: str | None, given: Iterable[str]) -> None:
    """Raises InvalidRequest: a model that a field in `given` names cannot be called by those whose calls the route
    answers, or two targets are one model."""
    for found in uncallable(sv.catalog, sv.settings.routing.aliases, spec, project_id):
        if found.param.split("[")[0] in given:
            rule = _why_not(sv, found, project_id)
            raise InvalidRequest(f"Invalid '{found.param}': {rule}", param=found.param, code="model_not_found")
    if twice := repeated(sv.catalog, sv.settings.routing.aliases, spec):
        param, name = twice
        raise InvalidRequest(f"Invalid '{param}': it is `{name}` under another name; add its weights up.", param=param)


def _why_not(sv: Services, found: Uncallable, project_id: str | None) -> str:
    """The reason and the way out."""
    if found.owner is None:
        if sv.route_book.find(found.model, project_id or ""):
            return f"`{found.model}` is a route; a {found.role} is a model, a fine-tuned model or an alias."
        return f"the model `{found.model}` does not exist."
    if project_id is None:
        why = f"the model `{found.model}` belongs to project {found.owner}, and every project may call this route."
        return f"{why} Give the route that `project_id`, or that of a project the model is shared with."
    why = f"the model `{found.model}` belongs to project {found.owner}."
    return f"{why} Share it with {project_id}: POST /v1/fine_tuning/checkpoints/{found.model}/permissions."


def _check_one_is_left(sv: Services, row: RouteRow, number: int, spec: RouteSpec) -> None:
    """Raises Conflict: calls would find no target with a weight, and no fallback that answers in place of one that is
    gone."""
    gone = {
        each.param: each.model for each in uncallable(sv.catalog, sv.settings.routing.aliases, spec, row.project_id)
    }
    left = any(each.weight and f"targets[{at}].model" not in gone for at, each in enumerate(spec.targets))
    left |= any(
        "not_loaded" in each.on and f"fallbacks[{at}].model" not in gone for at, each in enumerate(spec.fallbacks)
    )
    if not left:
        names = ", ".join(f"`{model}`" for model in dict.fromkeys(gone.values()))
        message = f"Revision {number} of the route `{row.name}` has nothing left that can be called: {names}."
        raise Conflict(message, param="revision", headers=routes.FINAL)


def _configured(sv: Services, route_id: str) -> Route | None:
    return next((route for route in sv.route_book.configured if route.id == route_id), None)


def _refuse_configured(sv: Services, route_id: str) -> None:
    """Raises Conflict."""
    if found := _configured(sv, route_id):
        message = f"The route `{found.name}` stands in the settings ([[routes]]) and is changed there."
        message += " Or make one with the same name (POST /v1/routes), which then answers instead."
        raise Conflict(message, headers=routes.FINAL)


def _of_row(sv: Services, row: RouteRow, spec: dict[str, Any]) -> RouteObject:
    try:
        return _shown(sv, of_row(row, restored(spec)))
    except msgspec.ValidationError:
        shown = _shown(sv, of_row(row, RouteSpec(targets=())))
        return msgspec.structs.replace(shown, problems=[UNREADABLE])


def _shown(sv: Services, route: Route) -> RouteObject:
    return RouteObject(
        id=route.id,
        name=route.name,
        project_id=route.project_id,
        revision=route.revision,
        created_at=route.created,
        updated_at=route.updated,
        **msgspec.structs.asdict(route.spec),
        source=route.source,
        problems=_problems(sv, route),
    )


def _problems(sv: Services, route: Route) -> list[str]:
    found = uncallable(sv.catalog, sv.settings.routing.aliases, route.spec, route.project_id)
    said = [_problem(each, route) for each in found]
    other = sv.route_book.find(route.name, "") if route.source == "settings" else None
    if other and other.id != route.id:
        said.append(f"{other.id}, made with POST /v1/routes, has the same name and answers instead")
    return said


def _problem(found: Uncallable, route: Route) -> str:
    if found.owner is None:
        return f"{found.role} `{found.model}` does not exist{' any more' if route.source == 'api' else ''}"
    if route.project_id is None:
        return f"{found.role} `{found.model}` belongs to project {found.owner}: no other project's calls get it"
    return f"{found.role} `{found.model}` belongs to project {found.owner} and is not shared with {route.project_id}"


def _revision(row: RouteRevisionRow) -> RouteRevision:
    return RouteRevision(
        id=f"{row.route_id}.{row.number}",
        route_id=row.route_id,
        number=row.number,
        spec=row.spec,
        created_at=unix(row.created_at),
        created_by=row.created_by,
        restores=row.restores,
    )


def _number(row: RouteRow, after: str | None) -> int | None:
    """The revision that an id stands for. Raises InvalidRequest."""
    if after is None:
        return None
    route_id, _, number = after.rpartition(".")
    if route_id != row.id or not re.fullmatch("[0-9]{1,18}", number):
        raise _not_in_list(after)
    return int(number)


def _page(every: list[RouteObject], wanted: Cursor) -> CursorList:
    """Routes are few and in memory anyway: the page is cut here."""
    ordered = every[::-1] if wanted.descending else every
    ids = [route.id for route in ordered]
    if wanted.after is not None and wanted.after not in ids:
        raise _not_in_list(wanted.after)
    rest = ordered[ids.index(wanted.after) + 1 :] if wanted.after is not None else ordered
    return cursor_list(rest[: wanted.limit], has_more=len(rest) > wanted.limit)


def _not_in_list(after: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid 'after': no object with id '{after[:ECHO_LIMIT]}' is in this list.", param="after")
