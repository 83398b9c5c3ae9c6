"""How far the people agree who judge the same items of a queue."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

MOST_DECISIONS = 2_000
"""The latest: a page shows this, and must not wait for it."""
SAID = text("""
WITH latest AS (
    SELECT item_id, judgment_ids FROM review_decisions WHERE queue_id = :queue AND decision = 'done'
    ORDER BY decided_at DESC LIMIT :most
)
SELECT latest.item_id, j.criterion_id, coalesce(to_jsonb(j.preference), j.raw_value) AS value
FROM latest CROSS JOIN LATERAL jsonb_array_elements_text(latest.judgment_ids) AS made (id)
JOIN judgments j ON j.id = made.id
WHERE j.status = 'ok' AND j.superseded_at IS NULL AND j.kind IN ('boolean', 'numeric', 'categorical', 'pairwise')
""")
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Agreed:
    """By one version of a criterion."""

    criterion_id: str
    items: int
    """Judged by two people or more."""
    rate: float
    """The mean over items of the share of pairs of people who said the same."""


async def agreement(session: AsyncSession, queue_id: str) -> list[Agreed]:
    """By criterion, those alone by which two people judged one item."""
    rows = await session.execute(SAID, {"queue": queue_id, "most": MOST_DECISIONS})
    said: defaultdict[str, defaultdict[str, list[bytes]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        said[row.criterion_id][row.item_id].append(_encode(row.value))
    found = [_agreed(criterion_id, by_item.values()) for criterion_id, by_item in sorted(said.items())]
    return [each for each in found if each is not None]


def _agreed(criterion_id: str, items: Iterable[list[bytes]]) -> Agreed | None:
    shares = [_share(values) for values in items if len(values) > 1]
    return Agreed(criterion_id, len(shares), sum(shares) / len(shares)) if shares else None


def _share(values: list[Any]) -> float:
    """Of the pairs among them, those that are equal."""
    same = sum(count * (count - 1) for count in Counter(values).values())
    return same / (len(values) * (len(values) - 1))
