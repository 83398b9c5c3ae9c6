"""More items for a queue that is there already; what it has is not taken twice."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import ReviewItemRow, ReviewQueueRow
from gateway.errors import InvalidRequest
from gateway.kit.ids import new_id
from gateway.protocol.review_queues import MOST_ITEMS
from gateway.reviewing.choosing import Chosen
from gateway.reviewing.queues import AT_A_TIME

PLACE = ("exchange_id", "choice_index", "other_exchange_id", "other_choice_index")


async def add(session: AsyncSession, queue: ReviewQueueRow, chosen: Chosen) -> tuple[int, int]:
    """Behind what the queue has. How many were added, and how many were in it before.

    Args:
        queue: locked, so that positions are given once.

    Raises:
        InvalidRequest: the queue would become too long.
    """
    columns = [getattr(ReviewItemRow, name) for name in (*PLACE, "position")]
    rows = await session.execute(select(*columns).where(ReviewItemRow.queue_id == queue.id))
    before = {_key(row): int(row["position"]) for row in rows.mappings()}
    new = [each for each in chosen.items if _key(each) not in before]
    if len(before) + len(new) > MOST_ITEMS:
        raise InvalidRequest(
            f"A review queue has at most {MOST_ITEMS:,} items; this one has {len(before):,} already. Make another one.",
            param="source",
        )
    first = max(before.values(), default=-1) + 1
    items = [{"id": new_id("item_"), "queue_id": queue.id, "position": first + n, **each} for n, each in enumerate(new)]
    for start in range(0, len(items), AT_A_TIME):
        await session.execute(insert(ReviewItemRow), items[start : start + AT_A_TIME])
    queue.total += len(items)
    source = queue.source or {}
    queue.source = source | {"added": source.get("added", 0) + len(items)}
    return len(items), len(chosen.items) - len(items)


def _key(item: Mapping[Any, Any]) -> frozenset[tuple[str, int]]:
    """The same for a pair, whichever comes first."""
    one = (item["exchange_id"], item["choice_index"])
    other = item["other_exchange_id"]
    return frozenset([one] if other is None else [one, (other, item["other_choice_index"])])
