"""What failures are held against: criteria, trainings and what they measured, routes and their revisions, evals."""

from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any

from sqlalchemy import case, func, lateral, null, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import (
    CriterionRow,
    EvalOutputItemRow,
    EvalRow,
    EvalRunRow,
    FineTuningCheckpointRow,
    FineTuningEventRow,
    FineTuningJobRow,
    ModelRow,
    RouteRevisionRow,
    RouteRow,
)
from gateway.guidance.material import Criterion, Route, Tested, Training
from gateway.protocol.guidance import GuidanceFilters

EVALS, RUNS, ITEMS = 10, 3, 500
"""Evals that were changed last, completed runs of each, items of each run."""
TRAININGS = 20
REVISIONS = 20
STEPS = 5
"""At the beginning and at the end of a training, whose median is its loss there: single steps jump about."""


async def criteria(session: AsyncSession, ids: Collection[str]) -> dict[str, Criterion]:
    rows = await session.scalars(select(CriterionRow).where(CriterionRow.id.in_(ids)))
    return {row.id: Criterion(row.name, row.description, row.version) for row in rows}


async def trainings(session: AsyncSession, project_id: str, models: Collection[str]) -> dict[str, Training]:
    """Of those of `models` that this project trained, the newest TRAININGS."""
    own = select(ModelRow, FineTuningJobRow).join(FineTuningJobRow, FineTuningJobRow.id == ModelRow.job_id)
    own = own.where(ModelRow.project_id == project_id, ModelRow.id.in_(models))
    rows = (await session.execute(own.order_by(ModelRow.created_at.desc()).limit(TRAININGS))).all()
    jobs = [row.FineTuningJobRow.id for row in rows]
    first, last = await _losses(session, jobs, newest=False), await _losses(session, jobs, newest=True)
    valid = await _valid_losses(session, jobs)
    return {
        row.ModelRow.id: _training(row.ModelRow, row.FineTuningJobRow, first, last, valid.get(row.ModelRow.job_id, []))
        for row in rows
    }


def _training(
    model: ModelRow,
    job: FineTuningJobRow,
    first: Mapping[str, float],
    last: Mapping[str, float],
    valid: list[tuple[int, float]],
) -> Training:
    numbers: dict[str, Any] = (job.method.get(job.method.get("type", "")) or {}).get("hyperparameters") or {}
    rank = job.training.get("lora_rank")
    return Training(
        job_id=job.id,
        created_at=model.created_at.timestamp(),
        base_model=model.base_model,
        epochs=_number(numbers.get("n_epochs")),
        rank=rank if isinstance(rank, int) else None,
        learning_rate_multiplier=_number(numbers.get("learning_rate_multiplier")),
        first_loss=first.get(job.id),
        last_loss=last.get(job.id),
        valid_losses=valid,
        method=str(job.method.get("type", "")),
    )


def _number(value: Any) -> float | None:
    """None for "auto"."""
    return float(value) if isinstance(value, int | float) else None


async def _losses(session: AsyncSession, jobs: Sequence[str], *, newest: bool) -> dict[str, float]:
    """Job -> the loss at its end or at its beginning, of jobs with enough steps that the two are not the same ones."""
    event = FineTuningEventRow
    steps = select(event.values).where(event.job_id == FineTuningJobRow.id, event.type == "metrics")
    ordered = steps.order_by(event.number.desc() if newest else event.number.asc()).limit(2 * STEPS)
    side = lateral(ordered).alias("side")
    query = select(FineTuningJobRow.id, side.c["values"]).join(side, true()).where(FineTuningJobRow.id.in_(jobs))
    found: dict[str, list[float]] = {}
    for job_id, values in await session.execute(query):
        loss = _number((values or {}).get("train_loss"))
        found.setdefault(job_id, []).extend([loss] if loss is not None else [])
    return {job_id: median(losses[:STEPS]) for job_id, losses in found.items() if len(losses) >= 2 * STEPS}


async def _valid_losses(session: AsyncSession, jobs: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    """At checkpoints: those on the whole file where there are several, else those on batches of it."""
    row = FineTuningCheckpointRow
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for each in await session.scalars(select(row).where(row.job_id.in_(jobs)).order_by(row.job_id, row.step)):
        for name in ("full_valid_loss", "valid_loss"):
            loss = _number(each.metrics.get(name))
            if loss is not None:
                found.setdefault(each.job_id, {}).setdefault(name, []).append((each.step, loss))
    return {
        job_id: full if len(full := losses.get("full_valid_loss", [])) >= 2 else losses.get("valid_loss", full)
        for job_id, losses in found.items()
    }


async def routes(session: AsyncSession, project_id: str, names: Collection[str]) -> list[Route]:
    """Those in force with these names; of two with one name the project's own (gateway/routing/route_book.py)."""
    query = (
        select(RouteRow, RouteRevisionRow)
        .join(
            RouteRevisionRow,
            (RouteRevisionRow.route_id == RouteRow.id) & (RouteRevisionRow.number == RouteRow.revision),
        )
        .where(RouteRow.deleted_at.is_(None), RouteRow.name.in_(names))
        .where(or_(RouteRow.project_id == project_id, RouteRow.project_id.is_(None)))
        .order_by(RouteRow.name, RouteRow.project_id.nulls_last())
    )
    rows = (await session.execute(query)).all()
    by_name = {row.RouteRow.name: row for row in reversed(rows)}
    revisions = await _revisions(session, [row.RouteRow.id for row in by_name.values()])
    return [
        _route(row.RouteRow, row.RouteRevisionRow.spec, revisions.get(row.RouteRow.id, []))
        for _, row in sorted(by_name.items())
    ]


def _route(row: RouteRow, spec: Mapping[str, Any], revisions: list[tuple[int, float]]) -> Route:
    checks: list[Any] = spec.get("checks") or []
    return Route(
        id=row.id,
        name=row.name,
        rules=sorted({str(rule.get("type")) for each in checks for rule in each.get("rules") or []}),
        few_shot=bool(spec.get("few_shot")),
        fallbacks=len(spec.get("fallbacks") or []),
        revisions=revisions,
    )


async def _revisions(session: AsyncSession, ids: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    own = select(RouteRevisionRow.number, RouteRevisionRow.created_at)
    own = own.where(RouteRevisionRow.route_id == RouteRow.id).order_by(RouteRevisionRow.number.desc()).limit(REVISIONS)
    side = lateral(own).alias("side")
    query = select(RouteRow.id, side.c.number, side.c.created_at).join(side, true()).where(RouteRow.id.in_(ids))
    found: dict[str, list[tuple[int, float]]] = {}
    for route_id, number, created_at in await session.execute(query):
        found.setdefault(route_id, []).append((number, created_at.timestamp()))
    return {route_id: sorted(each) for route_id, each in found.items()}


async def tested(session: AsyncSession, project_id: str, filters: GuidanceFilters) -> list[Tested]:
    """Items of the newest completed runs of each eval: of each model its newest, and of the newest of all what passed in the
    run before it."""
    found: list[Tested] = []
    by_eval: dict[str, list[Any]] = {}
    for row in await session.execute(_newest_runs(project_id)):
        by_eval.setdefault(row.eval_id, []).append(row)
    for runs in by_eval.values():
        wanted = [run for run in runs if _is_wanted(run, filters)]
        models: set[str | None] = set()
        before = wanted[1] if len(wanted) > 1 else None
        for run in wanted:
            if run.model not in models:
                found += await _items(session, run, before if run is wanted[0] else None)
                models.add(run.model)
    return found


def _newest_runs(project_id: str) -> Any:
    """Newest first, of the evals that were changed last."""
    evals = select(EvalRow.id, EvalRow.name).where(EvalRow.project_id == project_id, EvalRow.deleted_at.is_(None))
    newest = evals.order_by(EvalRow.updated_at.desc(), EvalRow.id).limit(EVALS).subquery()
    run = EvalRunRow
    runs = select(run.id, run.model, func.extract("epoch", run.created_at).label("at"))
    runs = runs.where(run.eval_id == newest.c.id, run.status == "completed", run.deleted_at.is_(None))
    side = lateral(runs.order_by(run.created_at.desc(), run.id).limit(RUNS)).alias("side")
    columns = (newest.c.id.label("eval_id"), newest.c.name, side.c.id, side.c.model, side.c["at"])
    return select(*columns).join(side, true()).order_by(newest.c.id, side.c["at"].desc(), side.c.id)


def _is_wanted(run: Any, filters: GuidanceFilters) -> bool:
    """A run asks a route by its name, like a model."""
    if any(name not in (None, run.model) for name in (filters.model, filters.route)):
        return False
    after, before = filters.created_after, filters.created_before
    return (after is None or run.at >= after) and (before is None or run.at < before)


async def _items(session: AsyncSession, run: Any, before: Any) -> list[Tested]:
    passed: dict[tuple[int, int], bool] = {}
    if before is not None:
        passed = {(each.number, each.repeat): each.status == "pass" for each in await session.execute(_of(before.id))}
    found: list[Tested] = []
    for each in await session.execute(_of(run.id)):
        known, failed = passed.get((each.number, each.repeat)), _failed(each)
        flipped = None if known is None else known and bool(failed)
        found.append(Tested(run.eval_id, run.name, run.id, float(run.at), run.model, each.id, failed, flipped))
    return found


def _of(run_id: str) -> Any:
    """Without the items and samples, which are large."""
    row = EvalOutputItemRow
    results = case((row.status == "fail", row.results), else_=null()).label("results")
    own = select(row.id, row.number, row.repeat, row.status, results).where(row.run_id == run_id)
    return own.where(row.status.in_(("pass", "fail"))).order_by(row.number, row.repeat).limit(ITEMS)


def _failed(each: Any) -> list[str]:
    if each.status != "fail":
        return []
    names = [str(result.get("name")) for result in each.results or [] if result.get("passed") is False]
    return sorted(set(names)) or ["a criterion"]
