"""Rows as what the statistics take."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import EvalOutputItemRow, EvalRow, EvalRunRow
from gateway.evals import criteria
from gateway.evals.criteria import Criterion
from gateway.evals.figures import CriterionSpec, Graded, RunFigures
from gateway.evals.repository import GRADED
from gateway.protocol.evals import Metrics

Item = EvalOutputItemRow


async def figures_of(session: AsyncSession, of: EvalRow, run: EvalRunRow) -> RunFigures:
    """All that a run's statistics are made of."""
    known = criteria.read(of.testing_criteria)
    columns = (Item.number, Item.repeat, Item.cluster, Item.status, Item.results, Item.metrics)
    query = select(*columns, func.md5(cast(Item.item, Text)).label("key"))
    found = await session.stream(query.where(Item.run_id == run.id, Item.status.in_(GRADED)).order_by(*columns[:2]))
    items = [_graded(row, known) async for row in found]
    return RunFigures(
        criteria=[_spec(each) for each in known], primary=primary(of, known), repeats=run.repeats, items=items
    )


def primary(of: EvalRow, known: Sequence[Criterion]) -> str:
    """Id of the criterion that decides; empty for all of them together."""
    named = metrics_of(of).primary
    return next((each.id for each in known if each.name == named), "")


def metrics_of(of: EvalRow) -> Metrics:
    return msgspec.convert(of.metrics, Metrics)


def _spec(criterion: Criterion) -> CriterionSpec:
    return CriterionSpec(criterion.id, criterion.name, criterion.type, criterion.is_judge)


def _graded(row: Any, known: Sequence[Criterion]) -> Graded:
    by_id = {each.id: each for each in known}
    scores = {
        each["name"]: (by_id[each["name"]].score(each["score"]), bool(each["passed"]))
        for each in row.results or []
        if each["score"] is not None
    }
    return Graded(
        number=row.number,
        repeat=row.repeat,
        cluster=row.cluster,
        key=row.key,
        status=row.status,
        scores=scores,
        metrics={name: value for name, value in (row.metrics or {}).items() if name != "usage"},
    )
