"""How large a run should be, and whether runs get better: /v1/evals/{eval}/sample_size and /trend. Extensions."""

from litestar import get
from litestar.params import FromPath, QueryParams
from sqlalchemy import Select, func

from gateway.db.tables import EvalRow, EvalRunRow
from gateway.errors import InvalidRequest, MissingParameter
from gateway.evals import criteria, reports, repository, sizes, tallies, trends
from gateway.kit.clock import unix
from gateway.protocol.eval_reports import SampleSize, Trend, TrendPoint
from gateway.protocol.evals import ResultCounts
from gateway.protocol.queries import flag, integer, text
from gateway.routes.callers import Caller, Sv

BEFORE_ANY_RUN = 0.5
"""The pass rate at which a change is hardest to find."""


@get("/v1/evals/{eval_id:str}/sample_size")
async def sample_size(sv: Sv, caller: Caller, eval_id: FromPath[str], query: QueryParams) -> SampleSize:
    """`effect`: the change of the pass rate that is to be found (0.05); `baseline`: the pass rate, by default the last run's."""
    async with sv.database.session() as session:
        of = await repository.find(session, caller.project_id, eval_id)
        effect = _share(query, "effect")
        if effect is None:
            raise MissingParameter("effect")
        last = await session.scalar(_ended(of.id).order_by(EvalRunRow.created_at.desc()).limit(1))
    given = _share(query, "baseline")
    baseline, source = (given, "given") if given is not None else _baseline(last)
    after = baseline + effect if baseline + effect <= 1 else baseline - effect
    if effect <= 0 or not 0 <= after <= 1:
        raise InvalidRequest(
            f"Invalid 'effect': a pass rate of {baseline:g} cannot change by {effect:g}; expected a number above 0.",
            param="effect",
        )
    return _size(of, last, baseline, source, after)


@get("/v1/evals/{eval_id:str}/trend")
async def trend(sv: Sv, caller: Caller, eval_id: FromPath[str], query: QueryParams) -> Trend:
    """The last completed runs, oldest first: `limit` of them, of one `model` if it is named; `without_model`: those that graded
    answers of the data."""
    limit = integer(query, "limit", default=50)
    model = "" if flag(query, "without_model") else text(query, "model")
    async with sv.database.session() as session:
        of = await repository.find(session, caller.project_id, eval_id)
        rows = _ended(of.id) if model is None else _ended(of.id).where(func.coalesce(EvalRunRow.model, "") == model)
        newest = rows.order_by(EvalRunRow.created_at.desc(), EvalRunRow.id.desc()).limit(limit + 1)
        found = list(await session.scalars(newest))
    known = criteria.read(of.testing_criteria)
    named = {each.id: each.name for each in known}
    return Trend(
        eval_id=of.id,
        primary=named.get(reports.primary(of, known), "pass_rate"),
        data=[_point(each) for each in trends.steps(found[:limit][::-1])],
        has_more=len(found) > limit,
    )


def _ended(eval_id: str) -> Select[EvalRunRow]:
    return repository.runs_of(eval_id).where(EvalRunRow.status == "completed")


def _point(step: trends.Step) -> TrendPoint:
    run = step.run
    found = tallies.read(run.result or {})
    return TrendPoint(
        run_id=run.id,
        name=run.name,
        model=run.model or "",
        step=step.step,
        created_at=unix(run.created_at),
        result_counts=ResultCounts(
            total=run.total or 0, errored=found.errored, failed=found.failed, passed=found.passed
        ),
        metrics=(run.result or {}).get("metrics"),
        change=step.change,
        direction=step.direction,
    )


def _share(query: QueryParams, name: str) -> float | None:
    raw = text(query, name)
    if raw is None:
        return None
    try:
        value = float(raw)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise InvalidRequest(f"Invalid '{name}': expected a number from 0 to 1, got '{raw[:50]}'.", param=name)
    return value


def _baseline(last: EvalRunRow | None) -> tuple[float, str]:
    score = trends.primary_score((last.result or {}).get("metrics")) if last else None
    return (score["value"], last.id) if last and score else (BEFORE_ANY_RUN, "assumed")


def _size(of: EvalRow, last: EvalRunRow | None, baseline: float, source: str, after: float) -> SampleSize:
    at_most = sizes.paired(baseline, after, independent=True)
    had = last.total // last.repeats if last and last.total else None
    enough = had >= at_most if had is not None else None
    message = (
        f"To find a change of the pass rate from {baseline:.1%} to {after:.1%} in four of five attempts, both runs need about "
        f"{at_most} items each."
    )
    if had is not None:
        message += f" The last run had {had}: {'enough' if enough else 'too few; repeats are no more items'}."
    return SampleSize(
        eval_id=of.id,
        effect=round(abs(after - baseline), 10),
        baseline=baseline,
        baseline_source=source,
        power=sizes.POWER,
        significance=sizes.LEVEL,
        items=sizes.unpaired(baseline, after),
        paired_items=sizes.paired(baseline, after, independent=False),
        paired_items_at_most=at_most,
        last_run_items=had,
        enough=enough,
        message=message,
    )
