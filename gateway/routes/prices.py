"""/v1/prices (an extension): what models cost, and from when."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, QueryParams, RawBody
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.access.administrator import Administrator
from gateway.audit import log as audit
from gateway.db.tables import PriceRow
from gateway.errors import InvalidRequest
from gateway.kit.clock import from_unix, now, unix
from gateway.kit.ids import new_id
from gateway.kit.money import usd_from_nano
from gateway.metering import price_book, price_history, price_rules
from gateway.metering.prices import Price, of_settings
from gateway.metering.unpriced import Unpriced, unpriced
from gateway.protocol.decode import decode
from gateway.protocol.lists import CursorList, Deleted
from gateway.protocol.pages import page_of
from gateway.protocol.prices import PriceCreate, PriceObject, UnpricedList, UnpricedModel
from gateway.protocol.queries import LAST_SECOND, array, cursor, integer, mapping, timestamp
from gateway.routes.callers import Admin, Sv
from gateway.services import Services
from gateway.settings import PriceSettings

COMPARED: dict[str, Callable[[int, int], bool]] = {
    "gt": int.__gt__,
    "gte": int.__ge__,
    "lt": int.__lt__,
    "lte": int.__le__,
}
"""As OpenAI's audit logs compare `effective_at`."""

UNPRICED_SINCE = timedelta(days=30)
MOST_UNPRICED = 1000
"""Pairs of a model and a project."""

decode_price = msgspec.json.Decoder(PriceCreate)


@get("/v1/prices")
async def list_prices(sv: Sv, admin: Admin, query: QueryParams) -> CursorList:
    """By when they begin, the last one first; those of the settings began before all others."""
    wanted, models, bounds = cursor(query), array(query, "model"), _bounds(query)
    async with sv.database.session() as session:
        added = [_of_row(row, sv) for row in await session.scalars(price_history.history())]
    every = [*(_of_settings(each, sv) for each in sv.settings.prices), *added]
    of_models = [each for each in every if not models or each.model in models]
    return page_of([each for each in of_models if all(keeps(each.effective_at) for keeps in bounds)], wanted)


@post("/v1/prices", status_code=200)
async def create_price(sv: Sv, admin: Admin, body: RawBody) -> PriceObject:
    """Calls that come in from its moment on cost this; every process knows it within a second."""
    wanted = decode(decode_price, body)
    price_id, model = new_id("price_"), price_rules.check_model(wanted.model)
    price, since = price_rules.price_of(wanted), price_rules.check_moment(wanted.effective_at)
    async with sv.database.session() as session:
        row = await price_history.add(session, price_id, model, price, since)
        _tell(session, admin, sv, {"id": price_id} | msgspec.json.decode(body))
    await sv.mirrors.catch_up()
    return _of_row(row, sv)


@get("/v1/prices/unpriced")
async def list_unpriced(sv: Sv, admin: Admin, query: QueryParams) -> UnpricedList:
    """Models that were used since `start_time` (30 days ago when left out; from its day on, UTC) and met no price, by
    project, the most called first."""
    since = timestamp(query, "start_time")
    begin = now() - UNPRICED_SINCE if since is None else from_unix(since)
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    async with sv.database.session() as session:
        found = await unpriced(session, midnight, MOST_UNPRICED)
    return UnpricedList(data=[_unpriced(each, sv) for each in found])


@get("/v1/prices/{price_id:str}")
async def retrieve_price(sv: Sv, admin: Admin, price_id: FromPath[str]) -> PriceObject:
    if configured := _find_configured(sv, price_id):
        return _of_settings(configured, sv)
    async with sv.database.session() as session:
        return _of_row(await price_history.find(session, price_id), sv)


@delete("/v1/prices/{price_id:str}", status_code=200)
async def delete_price(sv: Sv, admin: Admin, price_id: FromPath[str]) -> Deleted:
    """One that has not begun: history never changes."""
    if configured := _find_configured(sv, price_id):
        raise price_history.unchangeable(configured.model, "it stands in the settings")
    async with sv.database.session() as session:
        row = await price_history.remove(session, price_id)
        _tell(session, admin, sv, {"id": price_id, "model": row.model, "deleted": True})
    await sv.mirrors.catch_up()
    return Deleted(id=price_id, object="price")


def _unpriced(found: Unpriced, sv: Services) -> UnpricedModel:
    deployment = sv.catalog.named(found.model)
    base = deployment.base_model if deployment else None
    return UnpricedModel(
        model=found.model,
        project_id=found.project_id,
        requests=found.requests,
        last_used_on=unix(found.last_day),
        priced_now=sv.prices.find(found.model, base) is not None,
    )


def _tell(session: AsyncSession, admin: Administrator, sv: Services, change: dict[str, Any]) -> None:
    detail = {"changes_requested": {"price": change}}
    audit.write(session, admin.actor, "organization.updated", sv.settings.organization, detail=detail)


def _bounds(query: QueryParams) -> list[Callable[[int], bool]]:
    """What `effective_at[gt]`, `[gte]`, `[lt]` and `[lte]` ask. Raises InvalidRequest."""
    asked = list(mapping(query, "effective_at"))
    if unknown := [each for each in asked if each not in COMPARED]:
        param = f"effective_at[{unknown[0][:50]}]"
        raise InvalidRequest(f"Invalid '{param}': it is one of {', '.join(COMPARED)}.", param=param)
    return [_bound(COMPARED[each], _seconds(query, f"effective_at[{each}]")) for each in asked]


def _bound(compared: Callable[[int, int], bool], edge: int) -> Callable[[int], bool]:
    return lambda moment: compared(moment, edge)


def _seconds(query: QueryParams, name: str) -> int:
    return integer(query, name, default=0, lowest=0, highest=LAST_SECOND)


def _find_configured(sv: Services, price_id: str) -> PriceSettings | None:
    return next((each for each in sv.settings.prices if _configured_id(each) == price_id), None)


def _configured_id(configured: PriceSettings) -> str:
    """The same in every process and after every start."""
    return f"price_{hashlib.sha256(configured.model.encode()).hexdigest()[:24]}"


def _of_row(row: PriceRow, sv: Services) -> PriceObject:
    shown = _shown(row.id, row.model, price_book.of_row(row), sv)
    shown.source, shown.effective_at, shown.created_at = "api", unix(row.effective_at), unix(row.created_at)
    return shown


def _of_settings(configured: PriceSettings, sv: Services) -> PriceObject:
    return _shown(_configured_id(configured), configured.model, of_settings(configured), sv)


def _shown(price_id: str, model: str, price: Price, sv: Services) -> PriceObject:
    return PriceObject(
        id=price_id,
        model=model,
        input=usd_from_nano(price.input),
        cached_input=usd_from_nano(price.cached_input),
        output=usd_from_nano(price.output),
        per_request=usd_from_nano(price.request),
        training=None if price.training is None else usd_from_nano(price.training),
        training_hour=None if price.training_hour is None else usd_from_nano(price.training_hour),
        max_output_tokens=price.max_output_tokens,
        problem=_problem(model, sv),
    )


def _problem(model: str, sv: Services) -> str | None:
    """A name that is misspelt would leave a model without its price, and nobody the wiser."""
    if model == sv.settings.engine.model or sv.catalog.named(model) is not None:
        return None
    return f"No model is called `{model}` now, so no call is charged by this. GET /v1/models lists the names."
