"""How all evals of a project are doing, in a number of queries that does not depend on how many there are."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from gateway.db.tables import EvalRow, EvalRunRow
from gateway.evals import repository, tallies, trends
from gateway.evals.tallies import Tally
from gateway.evals.trends import Step

Run = EvalRunRow
LOOKED_BACK = 5
"""Completed runs of an eval among which the last two that measured something are found."""
COUNTS = text("""
SELECT run_id, count(*) FILTER (WHERE status = 'pass') AS passed, count(*) FILTER (WHERE status = 'fail') AS failed,
       count(*) FILTER (WHERE status = 'error') AS errored
FROM eval_output_items WHERE run_id = ANY(:runs) GROUP BY 1
""")


@dataclass(frozen=True, slots=True)
class Standing:
    """Of one eval; of one model's runs alone, where one is asked for."""

    row: EvalRow
    runs: int
    unfinished: int
    last: EvalRunRow | None
    """Whatever became of it."""
    counts: Tally
    """Of the last run, without what its criteria said."""
    completed: Step | None
    """The last one that completed, beside the one before it."""
    before: EvalRunRow | None
    """The one before that measured something: what it is held against."""


def with_runs_of(query: Select[EvalRow], model: str) -> Select[EvalRow]:
    """Of these evals, those that the model was run on."""
    return query.where(_runs(model).where(Run.eval_id == EvalRow.id).exists())


async def standings(session: AsyncSession, rows: Sequence[EvalRow], model: str | None = None) -> list[Standing]:
    """In the order of the rows."""
    ids = [each.id for each in rows]
    totals = {row.eval_id: row for row in await session.execute(_totals(ids, model))}
    newest = await _newest(session, ids, _runs(model), 1)
    completed = await _newest(session, ids, _runs(model).where(Run.status == "completed"), LOOKED_BACK)
    counts = await _counts(session, [runs[0] for runs in newest.values()])
    found: list[Standing] = []
    for row in rows:
        total, last = totals.get(row.id), newest.get(row.id, [None])[0]
        steps = trends.steps(completed.get(row.id, [])[::-1])
        found.append(
            Standing(
                row=row,
                runs=total.runs if total else 0,
                unfinished=total.unfinished if total else 0,
                last=last,
                counts=counts.get(last.id, Tally()) if last else Tally(),
                completed=steps[-1] if steps else None,
                before=next((each.run for each in steps[-2::-1] if _measured(each)), None),
            )
        )
    return found


def _measured(step: Step) -> bool:
    return trends.primary_score((step.run.result or {}).get("metrics")) is not None


def _runs(model: str | None) -> Select[EvalRunRow]:
    query = select(Run).where(Run.deleted_at.is_(None))
    return query.where(Run.model == model) if model is not None else query


def _totals(ids: Sequence[str], model: str | None) -> Select[str, int, int]:
    unfinished = func.count().filter(Run.status.in_(repository.UNFINISHED)).label("unfinished")
    query = _runs(model).with_only_columns(Run.eval_id, func.count().label("runs"), unfinished)
    return query.where(Run.eval_id.in_(ids)).group_by(Run.eval_id)


async def _newest(
    session: AsyncSession, ids: Sequence[str], runs: Select[EvalRunRow], most: int
) -> dict[str, list[EvalRunRow]]:
    """By eval, newest first. Their data, which may be large, stays where it is."""
    mine = runs.with_only_columns(Run.id).where(Run.eval_id == EvalRow.id)
    first = mine.order_by(Run.created_at.desc(), Run.id.desc()).limit(most).correlate(EvalRow).lateral()
    chosen = select(first.c.id).select_from(EvalRow).join(first, true()).where(EvalRow.id.in_(ids))
    query = select(Run).where(Run.id.in_(chosen)).options(defer(Run.data_source, raiseload=True))
    found: dict[str, list[EvalRunRow]] = {}
    for run in await session.scalars(query.order_by(Run.created_at.desc(), Run.id.desc())):
        found.setdefault(run.eval_id, []).append(run)
    return found


async def _counts(session: AsyncSession, runs: Sequence[EvalRunRow]) -> dict[str, Tally]:
    """Of ended runs as they were kept, of the others as their items are now."""
    found = {run.id: tallies.read(run.result) for run in runs if run.result}
    if counted := [run.id for run in runs if not run.result]:
        for row in await session.execute(COUNTS, {"runs": counted}):
            found[row.run_id] = Tally(passed=row.passed, failed=row.failed, errored=row.errored)
    return found
