"""SQL of prices. What a price was, or is, never changes: a model gets a new one, and only what has not begun can go."""

from datetime import datetime, timedelta

from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.changes import touch
from gateway.db.tables import PriceRow
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.kit.clock import now, unix
from gateway.metering.price_book import MIRROR
from gateway.metering.prices import Price

FINAL = {"x-should-retry": "false"}
"""SDKs send a call that got 409 again otherwise."""
KNOWN_EVERYWHERE = timedelta(seconds=1)
"""A price that begins sooner than every process hears of its end cannot be taken back."""


def history() -> Select[PriceRow]:
    """Every price, the earliest first."""
    return select(PriceRow).order_by(PriceRow.effective_at, PriceRow.id)


async def find(session: AsyncSession, price_id: str) -> PriceRow:
    """Raises NotFound."""
    row = await session.get(PriceRow, price_id)
    if row is None:
        raise NotFound(f"No price with id '{price_id}'.", param="price_id")
    return row


async def add(session: AsyncSession, price_id: str, model: str, price: Price, since: int | None) -> PriceRow:
    """A price that holds from `since` (Unix seconds; None: now) on, in every process.

    Raises:
        InvalidRequest: `since` is in the past.
        Conflict: the model has a price from that very second.
    """
    moment = now()
    if since is not None and since < unix(moment):
        message = (
            "Invalid 'effective_at': it is in the past, and what was charged does not change. Leave it out for now."
        )
        raise InvalidRequest(message, param="effective_at")
    effective_at = moment if since is None or since == unix(moment) else datetime.fromtimestamp(since, moment.tzinfo)
    values = _columns(price) | {"id": price_id, "created_at": moment, "model": model, "effective_at": effective_at}
    added = insert(PriceRow).values(values).on_conflict_do_nothing().returning(PriceRow)
    row = await session.scalar(added)
    if row is None:
        message = f"The model `{model}` already has a price from {since} on: delete that one first."
        raise Conflict(message, param="effective_at", headers=FINAL)
    await touch(session, MIRROR)
    return row


async def remove(session: AsyncSession, price_id: str) -> PriceRow:
    """Take back a price that has not begun.

    Raises:
        NotFound: there is none with this id.
        Conflict: it is, or was, in force.
    """
    row = await find(session, price_id)
    waiting = delete(PriceRow).where(PriceRow.id == price_id, PriceRow.effective_at > now() + KNOWN_EVERYWHERE)
    if await session.scalar(waiting.returning(PriceRow.id)) is None:
        raise unchangeable(row.model, "it has begun")
    await touch(session, MIRROR)
    return row


def unchangeable(model: str, why: str) -> Conflict:
    message = f"This price cannot be deleted: {why}. Give `{model}` a new one; what was charged does not change."
    return Conflict(message, param="price_id", headers=FINAL)


def _columns(price: Price) -> dict[str, int | None]:
    return {
        "input_nano": price.input,
        "cached_input_nano": price.cached_input,
        "output_nano": price.output,
        "request_nano": price.request,
        "training_nano": price.training,
        "training_hour_nano": price.training_hour,
        "max_output_tokens": price.max_output_tokens,
    }
