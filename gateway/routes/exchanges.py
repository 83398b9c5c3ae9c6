"""/v1/exchanges: the log of a project's calls, an extension of OpenAI's API.

A call whose key says `logging: off` is not here. Any other appears within a second of its end (settings: exchanges.drain_seconds), with its own `x-request-id` as id.
"""

from decimal import Decimal, InvalidOperation
from typing import get_args

import msgspec
from litestar import get
from litestar.params import FromPath, QueryParams

from gateway.db.large_bodies import fill
from gateway.db.tables import ExchangeRow, ExchangeTextRow, LedgerRow
from gateway.errors import InvalidRequest, NotFound
from gateway.exchanges import repository
from gateway.exchanges.record import Outcome
from gateway.exchanges.repository import ExchangeFilters, JudgedFilter
from gateway.exchanges.search import Look
from gateway.judgments.verdict import Source
from gateway.keys.ring import ApiKey
from gateway.kit.clock import from_unix, unix
from gateway.kit.keyed_hash import end_user_hash
from gateway.kit.money import format_usd, nano_from_usd
from gateway.protocol.exchanges import CostParts, Exchange, ExchangeList, ExchangePreview, ExchangeUsage
from gateway.protocol.queries import array, choice, cursor, flag, integer, mapping, text, timestamp
from gateway.routes.callers import Caller, Sv
from gateway.routes.new_exchanges import began_at, exchanges_named
from gateway.services import Services

OUTCOMES: tuple[str, ...] = get_args(Outcome)
SOURCES: tuple[str, ...] = get_args(Source)
PURPOSES = ("none", "judge", "eval", "guidance")
"""none: calls of applications."""
MOST_SCANNED = 100_000
DAY_MS = 86_400_000
MOST_NANO = 10**18


@get("/v1/exchanges")
async def list_exchanges(sv: Sv, caller: Caller, query: QueryParams) -> ExchangeList:
    """Newest first (order=asc: oldest), without the bodies; `include[]=preview`: with their first words.

    Filters: model, status, outcome, metadata[key]=value, created_after (inclusive), created_before (exclusive), api_key_id,
    upstream, route (a name, or name@revision), purpose, streamed, cache_hit, error_code, min_duration_ms, min_cost_usd, user (as the
    call named it) or end_user (its hash); judged_by, criterion and passed: there is a judgment like this; q: words of the
    question and the answer. `scan_limit`: look at no more than so many (gateway/exchanges/search.py).
    """
    filters, has_preview = read_filters(sv, caller, query), _includes_preview(query)
    most = (
        integer(query, "scan_limit", default=MOST_SCANNED, highest=MOST_SCANNED) if text(query, "scan_limit") else None
    )
    async with sv.database.session() as session:
        page = await Look(session, caller.project_id, filters, cursor(query), most).page()
        texts = await repository.texts_of(session, [row.id for row in page.rows]) if has_preview else None
    shown = [exchange(row) for row in page.rows]
    if texts is not None:
        for each in shown:
            each.preview = _preview(texts.get(each.id))
    return ExchangeList(
        data=shown,
        first_id=shown[0].id if shown else None,
        last_id=shown[-1].id if shown else None,
        has_more=page.has_more,
        continue_from=page.continue_from,
    )


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
    shown = with_bodies(exchange(row), row)
    async with sv.database.session() as session:
        charge = await repository.charge_of(session, row.id)
    shown.cost_parts = _cost_parts(charge) if charge is not None else None
    return shown


async def _find(sv: Services, project_id: str, exchange_id: str) -> ExchangeRow | None:
    async with sv.database.session() as session:
        row = await repository.find(session, project_id, exchange_id)
        row = row or await repository.find_by_reply(session, project_id, exchange_id)
        await fill(session, row)
        return row


def read_filters(sv: Services, caller: ApiKey, query: QueryParams) -> ExchangeFilters:
    """Raises InvalidRequest."""
    after, before = timestamp(query, "created_after"), timestamp(query, "created_before")
    purpose = _one_of(query, "purpose", PURPOSES)
    return ExchangeFilters(
        model=text(query, "model"),
        status=_number(query, "status", lowest=100, highest=599),
        outcome=_one_of(query, "outcome", OUTCOMES),
        metadata=mapping(query, "metadata"),
        created_after=from_unix(after) if after is not None else None,
        created_before=from_unix(before) if before is not None else None,
        api_key_id=text(query, "api_key_id"),
        upstream=text(query, "upstream"),
        route=text(query, "route"),
        purpose="" if purpose == "none" else purpose,
        end_user=_end_user(sv, caller, query),
        error_code=text(query, "error_code"),
        streamed=flag(query, "streamed") if text(query, "streamed") else None,
        cache_hit=flag(query, "cache_hit") if text(query, "cache_hit") else None,
        min_duration_ms=_number(query, "min_duration_ms", lowest=0, highest=DAY_MS),
        min_cost_nano=_min_cost(query),
        judged=_judged(query),
        words=text(query, "q"),
    )


def _end_user(sv: Services, caller: ApiKey, query: QueryParams) -> str | None:
    if (user := text(query, "user")) is None:
        return text(query, "end_user")
    return end_user_hash(user, caller.project_id, sv.settings.secret_key.reveal())


def _judged(query: QueryParams) -> JudgedFilter | None:
    wanted = JudgedFilter(
        source=_one_of(query, "judged_by", SOURCES),
        criterion=text(query, "criterion"),
        passed=flag(query, "passed") if text(query, "passed") else None,
    )
    return wanted if wanted != JudgedFilter() else None


def _min_cost(query: QueryParams) -> int | None:
    """Raises InvalidRequest."""
    if (raw := text(query, "min_cost_usd")) is None:
        return None
    try:
        nano = nano_from_usd(Decimal(raw))
    except (InvalidOperation, ValueError, OverflowError):
        nano = -1
    if not 0 <= nano <= MOST_NANO:
        raise InvalidRequest(
            f"Invalid 'min_cost_usd': expected dollars such as 0.05, not '{raw[:50]}'.", param="min_cost_usd"
        )
    return nano


def _number(query: QueryParams, name: str, *, lowest: int, highest: int) -> int | None:
    return integer(query, name, default=0, lowest=lowest, highest=highest) if text(query, name) else None


def _one_of(query: QueryParams, name: str, allowed: tuple[str, ...]) -> str | None:
    return choice(query, name, allowed, "") if text(query, name) else None


def _includes_preview(query: QueryParams) -> bool:
    """Raises InvalidRequest."""
    wanted = array(query, "include")
    for each in wanted:
        if each != "preview":
            raise InvalidRequest(f"Invalid 'include': '{each[:50]}' is not one of preview.", param="include")
    return bool(wanted)


def _preview(row: ExchangeTextRow | None) -> ExchangePreview | None:
    return ExchangePreview(question=row.question, answer=row.answer) if row is not None else None


def _cost_parts(row: LedgerRow) -> CostParts:
    return CostParts(
        input_nano=row.input_nano,
        cached_input_nano=row.cached_input_nano,
        output_nano=row.output_nano,
        request_nano=row.request_nano,
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
        purpose=row.purpose,
        end_user=row.end_user,
        cache_hit=row.cache_hit,
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
