"""Items of the data as rows that wait for their answer."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import EvalOutputItemRow, EvalRow, EvalRunRow
from gateway.evals.reports import metrics_of
from gateway.kit.clock import now
from gateway.kit.ids import new_id
from judges.grade import GraderFailed
from judges.sample import Sample
from judges.templates import render

BATCH = 200
"""Rows of one statement."""


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One item, and the answer that came with it."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None
    cluster: str | None = None
    exchange_id: str | None = None


async def add(session: AsyncSession, of: EvalRow, run: EvalRunRow, first: int, items: Sequence[SourceItem]) -> None:
    """A row for each item and repeat, the first item's number being `first`. Rows that are there already stay as they are:
    another worker may have read half of the data.

    Raises:
        InvalidRequest: a text in them cannot be stored.
    """
    template, moment = metrics_of(of).cluster, now()
    rows = [
        {
            "id": new_id("outputitem_"),
            "run_id": run.id,
            "number": first + place,
            "repeat": repeat,
            "item": each.item,
            "cluster": _cluster(template, each, first + place),
            "status": "queued",
            "sample": each.sample,
            "exchange_id": each.exchange_id,
            "created_at": moment,
        }
        for place, each in enumerate(items)
        for repeat in range(run.repeats)
    ]
    for start in range(0, len(rows), BATCH):
        await session.execute(insert(EvalOutputItemRow).on_conflict_do_nothing(), rows[start : start + BATCH])


def _cluster(template: str | None, each: SourceItem, number: int) -> str:
    """Where nothing says more, an item stands alone."""
    if template is not None:
        try:
            return short_hash(render(template, Sample(""), each.item).text)
        except GraderFailed:
            return f"#{number}"
    return each.cluster or f"#{number}"


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]
