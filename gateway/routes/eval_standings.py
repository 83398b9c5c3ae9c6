"""/v1/eval_standings: all evals with how their runs stand. An extension."""

from litestar import get
from litestar.params import QueryParams

from gateway.db.pages import fetch_page
from gateway.db.tables import EvalRow, EvalRunRow
from gateway.evals import reports, repository, standings, tallies, trends
from gateway.evals.standings import Standing
from gateway.evals.tallies import Tally
from gateway.kit.clock import unix
from gateway.protocol.eval_reports import EvalStanding, RunStanding
from gateway.protocol.evals import ResultCounts
from gateway.protocol.lists import CursorList, cursor_list
from gateway.protocol.queries import cursor, text
from gateway.routes.callers import Caller, Sv

ALL_CRITERIA = "pass_rate"


@get("/v1/eval_standings")
async def list_standings(sv: Sv, caller: Caller, query: QueryParams) -> CursorList:
    """Newest first. `model`: those that it was run on, with its runs alone."""
    model = text(query, "model")
    rows = repository.of_project(caller.project_id)
    if model is not None:
        rows = standings.with_runs_of(rows, model)
    async with sv.database.session() as session:
        page = await fetch_page(session, rows, EvalRow, cursor(query))
        found = await standings.standings(session, page.rows, model)
    return cursor_list([_standing(each) for each in found], has_more=page.has_more)


def _standing(found: Standing) -> EvalStanding:
    row, step = found.row, found.completed
    return EvalStanding(
        id=row.id,
        name=row.name,
        created_at=unix(row.created_at),
        metadata=row.request_metadata,
        primary=reports.metrics_of(row).primary or ALL_CRITERIA,
        runs=found.runs,
        unfinished=found.unfinished,
        last_run=_run(found.last, found.counts) if found.last else None,
        last_completed_run=_ended(step.run) if step else None,
        run_before=_ended(found.before) if found.before else None,
        change=step.change if step else None,
        direction=step.direction if step else None,
    )


def _ended(row: EvalRunRow) -> RunStanding:
    return _run(row, tallies.read(row.result or {}))


def _run(row: EvalRunRow, counts: Tally) -> RunStanding:
    metrics = (row.result or {}).get("metrics")
    return RunStanding(
        id=row.id,
        name=row.name,
        model=row.model or "",
        status=row.status,
        created_at=unix(row.created_at),
        finished_at=unix(row.finished_at) if row.finished_at else None,
        total=row.total,
        result_counts=ResultCounts(
            total=row.total or 0, errored=counts.errored, failed=counts.failed, passed=counts.passed
        ),
        score=trends.primary_score(metrics),
        quality=(metrics or {}).get("quality"),
    )
