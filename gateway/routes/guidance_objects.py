"""Examples of clusters with the words that are still there: what was erased since has none."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import EvalOutputItemRow
from gateway.exchanges.repository import texts_of
from gateway.exchanges.texts import first_words
from gateway.protocol.guidance import Cluster, Example


async def with_texts(session: AsyncSession, clusters: list[Cluster]) -> list[Cluster]:
    """Two statements, however many there are."""
    examples = [example for each in clusters for example in _examples(each)]
    said = await texts_of(session, {each.exchange_id for each in examples if each.exchange_id})
    items = await _items(session, [each.output_item_id for each in examples if each.output_item_id])
    for each in examples:
        if each.output_item_id in items:
            each.question, each.answer = items[each.output_item_id]
        elif each.exchange_id in said:
            each.question, each.answer = said[each.exchange_id].question, said[each.exchange_id].answer
    return clusters


def _examples(cluster: Cluster) -> Iterator[Example]:
    yield from cluster.examples
    yield from (each.example for each in cluster.topics)


async def _items(session: AsyncSession, ids: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
    """Item -> the first words of its question and its answer."""
    row = EvalOutputItemRow
    if not ids:
        return {}
    found = await session.execute(select(row.id, row.item, row.sample).where(row.id.in_(ids)))
    return {each.id: (_question(each.item), _answer(each.sample)) for each in found}


def _question(item: dict[str, Any]) -> str | None:
    """Of an item of whatever schema: its first text. Of a stored completion that was erased, only its id is left
    (gateway/exchanges/erasure.py)."""
    if item.keys() == {"completion_id"}:
        return None
    return next((first_words(value) for value in item.values() if isinstance(value, str) and value), None)


def _answer(sample: dict[str, Any] | None) -> str | None:
    output: list[Any] = (sample or {}).get("output") or []
    contents = [each.get("content") for each in output if isinstance(each, dict)]
    return next((first_words(each) for each in contents if isinstance(each, str) and each), None)
