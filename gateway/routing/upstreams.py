"""Providers that were added through the API: their rows, and the secrets sealed in them."""

from typing import Any

import msgspec
from msgspec import UNSET
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import UpstreamRow
from gateway.errors import Conflict, InvalidRequest, MissingParameter, NoEncryptionKey, NotFound
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from gateway.kit.sealing import Sealer
from gateway.protocol.upstreams import ServedModel, UpstreamFields
from gateway.routing import upstream_rules as rules
from gateway.routing.upstream_book import MIRROR, models_of, place
from gateway.settings import Settings

LOCK = 7_305_212_864_001
"""Any fixed number: PostgreSQL's advisory lock that lets one transaction at a time change providers, so that two cannot
take the same name."""
HINT, LEAST_FOR_HINT = 4, 12
"""Of a short key the last characters would be a good part."""
FINAL = {"x-should-retry": "false"}
"""SDKs send a call that got 409 again otherwise."""


def live() -> Select[UpstreamRow]:
    """Every provider that was not deleted, oldest first."""
    return select(UpstreamRow).where(UpstreamRow.deleted_at.is_(None)).order_by(UpstreamRow.created_at, UpstreamRow.id)


async def upstream(session: AsyncSession, upstream_id: str) -> UpstreamRow:
    """Raises NotFound."""
    row = await session.scalar(live().where(UpstreamRow.id == upstream_id))
    if row is None:
        raise NotFound(f"No upstream with id '{upstream_id}'.", param="upstream_id")
    return row


async def create(session: AsyncSession, settings: Settings, sealer: Sealer, fields: UpstreamFields) -> UpstreamRow:
    """A new provider; every process calls it within a second of the commit.

    Raises:
        MissingParameter, InvalidRequest: a field is missing or wrong, or a secret comes without an encryption key.
        Conflict: its name or one of its models is taken.
    """
    for name in ("name", "models"):
        if getattr(fields, name) is UNSET:
            raise MissingParameter(name)
    if fields.base_url is UNSET and fields.base_urls is UNSET:
        raise MissingParameter("base_url")
    moment = now()
    row = UpstreamRow(id=new_id("upstream_"), kind="openai", headers={}, secret_headers=[], created_at=moment)
    write(row, fields, sealer)
    await _claim(session, settings, row, fields)
    session.add(row)
    await _changed(session, row)
    return row


async def update(
    session: AsyncSession, settings: Settings, sealer: Sealer, upstream_id: str, fields: UpstreamFields
) -> UpstreamRow:
    """Replace the fields that are given. Raises like `create`, and NotFound."""
    await _lock(session)
    row = await upstream(session, upstream_id)
    write(row, fields, sealer)
    with session.no_autoflush:
        await _claim(session, settings, row, fields)
    await _changed(session, row)
    return row


async def delete(session: AsyncSession, upstream_id: str) -> UpstreamRow:
    """Its names are free again, and its secrets are gone. Raises NotFound."""
    await _lock(session)
    row = await upstream(session, upstream_id)
    row.deleted_at = now()
    row.encrypted_key = row.encrypted_headers = row.encrypted_proxy = None
    await _changed(session, row)
    return row


def write(row: UpstreamRow, fields: UpstreamFields, sealer: Sealer) -> None:
    """The fields that are given, checked, into the row. Raises InvalidRequest."""
    if fields.name is not UNSET:
        row.name = rules.check_name(fields.name)
    if fields.kind is not UNSET:
        row.kind = fields.kind
    _write_urls(row, fields)
    if fields.models is not UNSET:
        row.models = rules.check_models(fields.models)
    for name in ("organization", "project"):
        if (value := getattr(fields, name)) is not UNSET:
            setattr(row, name, rules.check_value(value, name) if value is not None else None)
    _write_key(row, fields, sealer)
    _write_headers(row, fields, sealer)
    _write_proxy(row, fields, sealer)
    rules.check_together(row.headers, row.secret_headers, has_key=row.encrypted_key is not None)


def hint_of(key: str) -> str | None:
    """What of a key may be shown."""
    return key[-HINT:] if len(key) >= LEAST_FOR_HINT else None


def model_names(row: UpstreamRow) -> list[str]:
    """As clients call them."""
    return [each.model if isinstance(each, ServedModel) else each for each in models_of(row)]


def served_by_settings(settings: Settings) -> dict[str, str]:
    """Names of models that the settings give to others, and who that is."""
    names: dict[str, str] = {}
    for configured in settings.upstreams:
        names |= dict.fromkeys(configured.models, f"the upstream `{configured.name}` of the settings serves it")
    if settings.engine.url:
        names[settings.engine.model] = "the engine serves it"
    return names


def _write_urls(row: UpstreamRow, fields: UpstreamFields) -> None:
    if fields.base_url is not UNSET and fields.base_urls is not UNSET:
        raise InvalidRequest("Invalid 'base_urls': give base_url or base_urls, not both.", param="base_urls")
    if fields.base_url is not UNSET:
        row.base_urls = rules.check_urls([fields.base_url], "base_url")
    if fields.base_urls is not UNSET:
        row.base_urls = rules.check_urls(fields.base_urls, "base_urls")


def _write_key(row: UpstreamRow, fields: UpstreamFields, sealer: Sealer) -> None:
    if fields.api_key is UNSET:
        return
    key = fields.api_key
    row.encrypted_key = row.key_hint = None
    if key is not None:
        rules.check_value(key, "api_key")
        row.encrypted_key = _seal(row, "encrypted_key", key, sealer, "api_key")
        row.key_hint = hint_of(key)


def _write_headers(row: UpstreamRow, fields: UpstreamFields, sealer: Sealer) -> None:
    if fields.headers is not UNSET:
        headers: dict[str, Any] = dict(rules.check_headers(fields.headers or {}, secret=False))
        row.headers = headers
    if fields.secret_headers is not UNSET:
        secret = rules.check_headers(fields.secret_headers or {}, secret=True)
        text = msgspec.json.encode(secret).decode()
        row.secret_headers = sorted(secret)
        row.encrypted_headers = _seal(row, "encrypted_headers", text, sealer, "secret_headers") if secret else None


def _write_proxy(row: UpstreamRow, fields: UpstreamFields, sealer: Sealer) -> None:
    if fields.proxy is UNSET:
        return
    row.proxy = row.encrypted_proxy = None
    if fields.proxy is not None:
        row.proxy, has_credentials = rules.check_proxy(fields.proxy)
        if has_credentials:
            row.encrypted_proxy = _seal(row, "encrypted_proxy", fields.proxy, sealer, "proxy")


def _seal(row: UpstreamRow, field: str, secret: str, sealer: Sealer, param: str) -> bytes:
    if not sealer:
        raise NoEncryptionKey(f"the upstream's {param}", param=param)
    return sealer.seal(secret, place(row.id, field))


async def _lock(session: AsyncSession) -> None:
    await session.execute(select(func.pg_advisory_xact_lock(LOCK)))


async def _claim(session: AsyncSession, settings: Settings, row: UpstreamRow, fields: UpstreamFields) -> None:
    """Make sure that no one else has the names that are given. Raises Conflict."""
    await _lock(session)
    others = list(await session.scalars(live().where(UpstreamRow.id != row.id)))
    if fields.name is not UNSET:
        _claim_name(settings, row, others)
    if fields.models is not UNSET:
        _claim_models(settings, row, others)


def _claim_name(settings: Settings, row: UpstreamRow, others: list[UpstreamRow]) -> None:
    if row.name == "engine" or row.name in {each.name for each in settings.upstreams}:
        raise _taken("name", f"The name `{row.name}` is taken: it stands in the settings.")
    for other in others:
        if other.name == row.name:
            raise _taken(
                "name",
                f"There is an upstream `{row.name}` already: {other.id}. Change that one"
                f" (POST /v1/upstreams/{other.id}) or delete it.",
            )


def _claim_models(settings: Settings, row: UpstreamRow, others: list[UpstreamRow]) -> None:
    taken = {
        name: f"the upstream `{other.name}` ({other.id}) serves it" for other in others for name in model_names(other)
    }
    taken |= dict.fromkeys(settings.routing.aliases, "it is an alias in the settings (routing.aliases)")
    taken |= served_by_settings(settings)
    for name in model_names(row):
        if name in taken:
            raise _taken("models", f"The model name `{name}` is taken: {taken[name]}.")


def _taken(param: str, message: str) -> Conflict:
    return Conflict(message, param=param, headers=FINAL)


async def _changed(session: AsyncSession, row: UpstreamRow) -> None:
    row.updated_at = now()
    await touch(session, MIRROR)
