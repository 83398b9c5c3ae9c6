"""/v1/exchanges: the log of a project's calls, an extension of OpenAI's API.

A call whose key says `logging: off` is not here. Any other appears within a second of its end (settings: exchanges.drain_seconds), with its own `x-request-id` as id.
"""

from typing import get_args

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParams

from gateway.db.pages import fetch_page
from gateway.db.tables import ExchangeRow
from gateway.errors import NotFound
from gateway.exchanges import repository
from gateway.exchanges.record import Outcome
from gateway.exchanges.repository import ExchangeFilters
from gateway.kit.clock import from_unix, unix
from gateway.kit.money import format_usd
from gateway.protocol.exchanges import Exchange, ExchangeUsage
from gateway.protocol.lists import CursorList, cursor_list
from gateway.protocol.queries import choice, cursor, integer, mapping, text, timestamp
from gateway.routes.callers import Caller, Sv
from gateway.routes.new_exchanges import began_at, exchanges_named
from gateway.services import Services

BY_ID = (ExchangeRow.id,)
"""Ids sort by time (gateway/kit/ids.py), and there is an index for it."""
OUTCOMES: tuple[str, ...] = get_args(Outcome)


@get("/v1/exchanges")
async def list_exchanges(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Newest first (order=asc: oldest), without the bodies. Filters: model, status, outcome, metadata[key]=value,
    created_after (inclusive), created_before (exclusive)."""
    rows = repository.matching(caller.project_id, read_filters(query))
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, ExchangeRow, cursor(query), order=BY_ID)
    return cursor_list([exchange(row) for row in page.rows], has_more=page.has_more)


@get("/v1/exchanges/{exchange_id:str}")
async def retrieve_exchange(sv: Sv, caller: Caller, exchange_id: FromPath[str]) -> Exchange:
    """By its own id, or by the id of its reply (`chatcmpl-...`); of several with the same reply id, the newest.

    By its own id one that ended just now is waited for: whoever has its answer on the screen asks what it cost.
    """
    row = await _find(sv, caller.project_id, exchange_id)
    if row is None and began_at(exchange_id) and await exchanges_named(sv, caller.project_id, {exchange_id}):
        row = await _find(sv, caller.project_id, exchange_id)
    if row is None:
        raise NotFound(f"No exchange with id '{exchange_id}'.", param="exchange_id")
    return with_bodies(exchange(row), row)


async def _find(sv: Services, project_id: str, exchange_id: str) -> ExchangeRow | None:
    async with sv.database.session() as session:
        row = await repository.find(session, project_id, exchange_id)
        return row or await repository.find_by_reply(session, project_id, exchange_id)


def read_filters(query: QueryParams) -> ExchangeFilters:
    """Raises InvalidRequest."""
    after, before = timestamp(query, "created_after"), timestamp(query, "created_before")
    return ExchangeFilters(
        model=text(query, "model"),
        status=integer(query, "status", default=200, lowest=100, highest=599) if text(query, "status") else None,
        outcome=choice(query, "outcome", OUTCOMES, "") if text(query, "outcome") else None,
        metadata=mapping(query, "metadata"),
        created_after=from_unix(after) if after is not None else None,
        created_before=from_unix(before) if before is not None else None,
    )


def exchange(row: ExchangeRow) -> Exchange:
    """The object without the bodies."""
    return Exchange(
        id=row.id,
        created_at=unix(row.created_at),
        endpoint=row.endpoint,
        requested_model=row.requested_model,
        served_model=row.served_model,
        route=row.route,
        attempts=row.attempts,
        upstream=row.upstream,
        streamed=row.streamed,
        outcome=row.outcome,
        status=row.status,
        error=row.error,
        reply_id=row.reply_id,
        usage=_usage(row),
        cost_usd=format_usd(row.cost_nano) if row.cost_nano is not None else None,
        cost_nano=row.cost_nano,
        priced=row.priced,
        duration_ms=row.duration_ms,
        first_token_ms=row.first_token_ms,
        upstream_ms=row.upstream_ms,
        api_key_id=row.api_key_id,
        logging=row.logging,
        metadata=row.request_metadata,
    )


def with_bodies(shown: Exchange, row: ExchangeRow) -> Exchange:
    if row.logging != "full":
        shown.request = shown.reply = None
        return shown
    shown.request, shown.request_text = _body(row.request)
    shown.reply, shown.reply_text = _body(row.reply) if row.reply is not None else (None, msgspec.UNSET)
    return shown


def _usage(row: ExchangeRow) -> ExchangeUsage | None:
    if row.input_tokens is None:
        return None
    return ExchangeUsage(
        input_tokens=row.input_tokens,
        cached_input_tokens=row.cached_input_tokens or 0,
        output_tokens=row.output_tokens or 0,
        estimated=row.usage_estimated,
    )


def _body(body: bytes) -> tuple[msgspec.Raw | None, str | msgspec.UnsetType]:
    """JSON as it came, to the byte; what is not JSON as text."""
    try:
        msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None, body.decode(errors="replace")
    return msgspec.Raw(body), msgspec.UNSET
