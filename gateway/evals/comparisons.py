"""Comparisons that were made, kept: a completed run never changes, so two of them are compared once."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import EvalComparisonRow, EvalOutputItemRow, EvalRunRow
from gateway.errors import NotFound
from gateway.evals.figures import ComparedRuns
from gateway.evals.repository import GRADED
from gateway.kit.clock import now

METHOD = 1
"""Counted up with every change of comparing.py by which the same runs would be told something else."""
WORSE, BETTER = "pass_to_fail", "fail_to_pass"
FLIPS, ALL = "flips", "all"
CHANGES = (FLIPS, WORSE, BETTER, ALL)
"""Which items to show."""
Item, Kept = EvalOutputItemRow, EvalComparisonRow


@dataclass(frozen=True, slots=True)
class Place:
    """One item in both runs' data."""

    number: int
    base_number: int | None
    """None: the base has no such item."""
    change: str | None
    """WORSE, BETTER or neither."""


async def find(session: AsyncSession, run_id: str, base_id: str) -> dict[str, Any] | None:
    """As the API shows it; None when it was not made yet."""
    kept = (Kept.run_id == run_id, Kept.base_run_id == base_id, Kept.method == METHOD)
    return await session.scalar(select(Kept.comparison).where(*kept))


async def check_there(session: AsyncSession, run_id: str, base_id: str) -> None:
    """Whoever deletes one of the runs, with what is kept of it, waits until this transaction has ended. Raises NotFound."""
    there = select(EvalRunRow.id).where(EvalRunRow.id.in_([run_id, base_id]), EvalRunRow.deleted_at.is_(None))
    found = set(await session.scalars(there.order_by(EvalRunRow.id).with_for_update(read=True)))
    if gone := {run_id, base_id} - found:
        raise _deleted(min(gone))


def _deleted(run_id: str) -> NotFound:
    return NotFound(f"No run with id '{run_id}': it was deleted while it was compared.", param="run_id")


async def keep(
    session: AsyncSession, run_id: str, base_id: str, made: ComparedRuns, comparison: dict[str, Any]
) -> None:
    """Whoever made the same at the same time has written the same. Raises NotFound: one of the runs was deleted meanwhile."""
    await check_there(session, run_id, base_id)
    values = {
        "method": METHOD,
        "comparison": comparison,
        "flips": [list(each) for each in made.flips],
        "elsewhere": [list(each) for each in made.elsewhere],
        "created_at": now(),
    }
    statement = insert(Kept).values(run_id=run_id, base_run_id=base_id, **values)
    await session.execute(statement.on_conflict_do_update(index_elements=[Kept.run_id, Kept.base_run_id], set_=values))


async def places(
    session: AsyncSession, run_id: str, base_id: str, change: str, after: int | None, limit: int
) -> list[Place]:
    """Items behind the one at `after`: of ALL in the data's order, of FLIPS what got worse first.

    Raises NotFound: one of the runs was deleted since the comparison was made.
    """
    kept = (Kept.run_id == run_id, Kept.base_run_id == base_id)
    row = (await session.execute(select(Kept.flips, Kept.elsewhere).where(*kept))).one_or_none()
    if row is None:
        raise _deleted(run_id)
    flips = [Place(number, base, WORSE if worse else BETTER) for number, base, worse in row.flips]
    if change == ALL:
        numbers = await _numbers(session, run_id, after, limit)
        return _beside(numbers, {each.number: each for each in flips}, dict(row.elsewhere))
    chosen = [each for each in flips if change in (FLIPS, each.change)]
    numbers = [each.number for each in chosen]
    first = numbers.index(after) + 1 if after in numbers else 0
    return chosen[first : first + limit]


async def _numbers(session: AsyncSession, run_id: str, after: int | None, limit: int) -> list[int]:
    of_run = (Item.run_id == run_id, Item.status.in_(GRADED), Item.number > (-1 if after is None else after))
    return list(await session.scalars(select(Item.number).where(*of_run).distinct().order_by(Item.number).limit(limit)))


def _beside(numbers: list[int], flips: dict[int, Place], elsewhere: dict[int, int | None]) -> list[Place]:
    return [flips.get(each) or Place(each, elsewhere.get(each, each), None) for each in numbers]
