"""/v1/organization/projects/{project}/rate_limits: of a project, or with `?api_key_id=` of one of its keys."""

from collections.abc import Iterable
from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.audit.log import write
from gateway.db.tables import ApiKeyRow
from gateway.errors import NotFound
from gateway.keys import repository as keys
from gateway.limits import repository
from gateway.projects import repository as projects
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted
from gateway.protocol.pages import page_of
from gateway.protocol.queries import cursor, text
from gateway.protocol.rate_limits import (
    ALL_MODELS,
    COLUMNS,
    PREFIX,
    UNLIMITED,
    ProjectRateLimit,
    RateLimitUpdate,
    given,
)
from gateway.routes.callers import Admin, Sv
from gateway.services import Services

decode_update = msgspec.json.Decoder(RateLimitUpdate)


@get("/v1/organization/projects/{project_id:str}/rate_limits")
async def list_rate_limits(sv: Sv, admin: Admin, project_id: FromPath[str], query: QueryParams) -> CursorList:
    """`rl-*`, which holds for all models together, then every name that the project may call."""
    async with sv.database.session() as session:
        await projects.project(session, project_id)
        key = await _key(session, project_id, text(query, "api_key_id"))
    await sv.mirrors.catch_up()
    entries = [_shown(sv, project_id, key, model) for model in _models(sv, project_id, key)]
    return page_of(entries, cursor(query, limit=100, order="asc"))


@post("/v1/organization/projects/{project_id:str}/rate_limits/{rate_limit_id:path}", status_code=200)
async def update_rate_limit(
    sv: Sv, admin: Admin, project_id: FromPath[str], rate_limit_id: FromPath[str], query: QueryParams, body: RawBody
) -> ProjectRateLimit:
    """What is given holds from now on, everywhere within a second; null leaves it to the tier again."""
    changes = given(decode(decode_update, body))
    async with sv.database.session() as session:
        await projects.active_project(session, project_id)
        key = await _key(session, project_id, text(query, "api_key_id"))
        model = _model(sv, project_id, key, rate_limit_id)
        row = await repository.ensure(session, project_id, key.id if key else None, model)
        for name, amount in changes.items():
            setattr(row, COLUMNS[name], amount)
        detail = {"changes_requested": changes | _where(key)}
        write(session, admin.actor, "rate_limit.updated", _id(model), project_id=project_id, detail=detail)
    await sv.mirrors.catch_up()
    return _shown(sv, project_id, key, model)


@delete("/v1/organization/projects/{project_id:str}/rate_limits/{rate_limit_id:path}", status_code=200)
async def delete_rate_limit(
    sv: Sv, admin: Admin, project_id: FromPath[str], rate_limit_id: FromPath[str], query: QueryParams
) -> Deleted:
    """Back to the tier (an extension); where nothing is set there is nothing to do."""
    async with sv.database.session() as session:
        await projects.active_project(session, project_id)
        key = await _key(session, project_id, text(query, "api_key_id"))
        model = _model(sv, project_id, key, rate_limit_id)
        row = await repository.find(session, project_id, key.id if key else None, model)
        if row is not None:
            await repository.delete(session, row)
        write(session, admin.actor, "rate_limit.deleted", _id(model), project_id=project_id, detail=_where(key))
    await sv.mirrors.catch_up()
    return Deleted(id=_id(model), object="project.rate_limit.deleted")


async def _key(session: AsyncSession, project_id: str, key_id: str | None) -> ApiKeyRow | None:
    """Raises NotFound."""
    return None if key_id is None else await keys.of_project(session, project_id, key_id)


def _models(sv: Services, project_id: str, key: ApiKeyRow | None) -> Iterable[str | None]:
    """None for all together, then names; those that are gone last, where something is still set for them."""
    routes, _ = sv.names.visible_to(project_id)
    names = [each.model for each in sv.catalog.visible_to(project_id)] + [route.name for route in routes]
    left = sorted(sv.limit_book.models(project_id, key.id if key else None))
    return dict.fromkeys([None, *names, *left])


def _model(sv: Services, project_id: str, key: ApiKeyRow | None, rate_limit_id: str) -> str | None:
    """The model of an id. Raises NotFound."""
    name = rate_limit_id.removeprefix("/")
    model = None if name == _id(None) else name.removeprefix(PREFIX)
    if not name.startswith(PREFIX) or model not in _models(sv, project_id, key):
        raise NotFound(
            f"No rate limit with id '{name[:200]}': it is `rl-` and a model or route that the project may call, or `rl-*`.",
            param="rate_limit_id",
        )
    return model


def _shown(sv: Services, project_id: str, key: ApiKeyRow | None, model: str | None) -> ProjectRateLimit:
    """The model's own number, else the one that it shares with all others, else none."""
    key_id, tier = (key.id, key.tier) if key else (None, None)
    everywhere = sv.limit_book.shown(project_id, key_id, tier, None)
    amounts = {**everywhere, **sv.limit_book.shown(project_id, key_id, tier, model)}
    fields: dict[str, Any] = {name: amounts[column] for name, column in COLUMNS.items() if column in amounts}
    always = {"max_requests_per_1_minute": UNLIMITED, "max_tokens_per_1_minute": UNLIMITED}
    return ProjectRateLimit(
        id=_id(model),
        object="project.rate_limit",
        model=model or ALL_MODELS,
        api_key_id=key_id or msgspec.UNSET,
        **(always | fields),
    )


def _id(model: str | None) -> str:
    return PREFIX + (model or ALL_MODELS)


def _where(key: ApiKeyRow | None) -> dict[str, str]:
    return {"api_key_id": key.id} if key else {}
