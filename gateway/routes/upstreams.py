"""/v1/upstreams (an extension): providers, added without a restart."""

import hashlib
from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.audit import log as audit
from gateway.db.tables import UpstreamRow
from gateway.errors import Conflict
from gateway.kit.clock import unix
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted
from gateway.protocol.pages import page_of
from gateway.protocol.queries import cursor
from gateway.protocol.upstreams import ServedModel, UpstreamFields, UpstreamObject
from gateway.routes.callers import Admin, Sv
from gateway.routing import upstreams
from gateway.routing.upstream_book import provider_of
from gateway.routing.upstream_rules import without_credentials
from gateway.services import Services
from gateway.settings import Settings, UpstreamSettings

decode_fields = msgspec.json.Decoder(UpstreamFields)


@get("/v1/upstreams")
async def list_upstreams(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """Those of the settings in their order, then those added here, oldest first."""
    wanted = cursor(query, order="asc")
    configured = [of_settings(each, sv) for each in sv.settings.upstreams]
    async with sv.database.session() as session:
        added = [of_row(row, sv) for row in await session.scalars(upstreams.live())]
    return page_of([*configured, *added], wanted)


@post("/v1/upstreams", status_code=200)
async def create_upstream(sv: Sv, admin: Admin, body: RawBody) -> UpstreamObject:
    """Calls to its models work from now on; in other processes within a second."""
    fields = decode(decode_fields, body)
    async with sv.database.session() as session:
        row = await upstreams.create(session, sv.settings, sv.sealer, fields)
        _tell(session, admin, sv, row, {"created": True} | _changes(row, fields))
    await sv.mirrors.catch_up()
    return of_row(row, sv)


@get("/v1/upstreams/{upstream_id:str}")
async def retrieve_upstream(sv: Sv, admin: Admin, upstream_id: FromPath[str]) -> UpstreamObject:
    if configured := find_configured(sv.settings, upstream_id):
        return of_settings(configured, sv)
    async with sv.database.session() as session:
        return of_row(await upstreams.upstream(session, upstream_id), sv)


@post("/v1/upstreams/{upstream_id:str}", status_code=200)
async def update_upstream(sv: Sv, admin: Admin, upstream_id: FromPath[str], body: RawBody) -> UpstreamObject:
    """Fields that are given replace what was; a call on its way ends as it began."""
    fields = decode(decode_fields, body)
    _refuse_configured(sv.settings, upstream_id)
    async with sv.database.session() as session:
        row = await upstreams.update(session, sv.settings, sv.sealer, upstream_id, fields)
        _tell(session, admin, sv, row, _changes(row, fields))
    await sv.mirrors.catch_up()
    return of_row(row, sv)


@delete("/v1/upstreams/{upstream_id:str}", status_code=200)
async def delete_upstream(sv: Sv, admin: Admin, upstream_id: FromPath[str]) -> Deleted:
    """New calls to its models find nothing; a call on its way ends normally."""
    _refuse_configured(sv.settings, upstream_id)
    async with sv.database.session() as session:
        row = await upstreams.delete(session, upstream_id)
        _tell(session, admin, sv, row, {"deleted": True})
    await sv.mirrors.catch_up()
    return Deleted(id=upstream_id, object="upstream")


def _changes(row: UpstreamRow, fields: UpstreamFields) -> dict[str, Any]:
    """What is not secret, and the names of all that was given."""
    given = [name for name in fields.__struct_fields__ if getattr(fields, name) is not msgspec.UNSET]
    return {"kind": row.kind, "base_urls": row.base_urls, "models": row.models, "fields": given}


def _tell(session: AsyncSession, admin: Administrator, sv: Services, row: UpstreamRow, changes: dict[str, Any]) -> None:
    owner = audit.owner_of(sv.settings.organization, None)
    audit.write_change(session, admin.actor, owner, row.id, {"upstream": {"id": row.id, "name": row.name} | changes})


def of_row(row: UpstreamRow, sv: Services) -> UpstreamObject:
    return UpstreamObject(
        id=row.id,
        name=row.name,
        kind=row.kind,
        base_url=row.base_urls[0],
        base_urls=row.base_urls,
        models=upstreams.models_of(row),
        headers=row.headers,
        secret_headers=row.secret_headers,
        has_key=row.encrypted_key is not None,
        key_hint=row.key_hint,
        organization=row.organization,
        project=row.project,
        proxy=row.proxy,
        has_proxy_credentials=row.encrypted_proxy is not None,
        source="api",
        problem=provider_of(row, sv.sealer).problem or _shadowed(row, sv.settings),
        failing_models=_failing(row.name, sv),
        created_at=unix(row.created_at),
        updated_at=unix(row.updated_at),
    )


def of_settings(configured: UpstreamSettings, sv: Services) -> UpstreamObject:
    """Nobody said which of its headers are secret, so that the values of none are shown."""
    key = configured.api_key.reveal()
    return UpstreamObject(
        id=configured_id(configured),
        name=configured.name,
        kind=configured.kind,
        base_url=without_credentials(configured.base_urls[0]),
        base_urls=[without_credentials(url) for url in configured.base_urls],
        models=[_named(configured, model) for model in configured.models],
        headers={},
        secret_headers=sorted(configured.headers),
        has_key=bool(key),
        key_hint=upstreams.hint_of(key),
        organization=configured.organization or None,
        project=configured.project or None,
        proxy=without_credentials(configured.proxy) if configured.proxy else None,
        has_proxy_credentials="@" in (configured.proxy or ""),
        source="settings",
        problem=None,
        failing_models=_failing(configured.name, sv),
        created_at=None,
        updated_at=None,
    )


def _failing(name: str, sv: Services) -> list[str]:
    return sorted(model for upstream, model in sv.traffic.breakers.open() if upstream == name)


def configured_id(configured: UpstreamSettings) -> str:
    """The same in every process and after every start."""
    return f"upstream_{hashlib.sha256(configured.name.encode()).hexdigest()[:24]}"


def find_configured(settings: Settings, upstream_id: str) -> UpstreamSettings | None:
    return next((each for each in settings.upstreams if configured_id(each) == upstream_id), None)


def _refuse_configured(settings: Settings, upstream_id: str) -> None:
    if configured := find_configured(settings, upstream_id):
        raise Conflict(
            f"The upstream `{configured.name}` stands in the settings: change it there and start the gateway again.",
            param="upstream_id",
            headers=upstreams.FINAL,
        )


def _named(configured: UpstreamSettings, model: str) -> str | ServedModel:
    served = configured.served_names.get(model)
    return ServedModel(model, served) if served else model


def _shadowed(row: UpstreamRow, settings: Settings) -> str | None:
    """The settings came later, and win."""
    others = upstreams.served_by_settings(settings)
    hidden = next((name for name in upstreams.model_names(row) if name in others), None)
    return f"calls of `{hidden}` do not come here: {others[hidden]}." if hidden else None
