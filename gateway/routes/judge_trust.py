"""How far a judge is behind, and how far it can be trusted."""

from datetime import timedelta

import msgspec
from litestar import get, post
from litestar.params import FromPath, RawBody
from sqlalchemy import select

from gateway.db.tables import CalibrationRow, CriterionRow, JudgeRow, JudgeVersionRow
from gateway.errors import InvalidRequest
from gateway.judging import lag, repository, trust
from gateway.judging.standings import standings
from gateway.judgments import criteria
from gateway.kit.clock import now
from gateway.protocol.decode import decode
from gateway.protocol.judges import CalibrationCreate, CalibrationQueued, JudgeLag, Trust
from gateway.protocol.lists import CursorList, cursor_list
from gateway.routes.callers import Caller, Sv
from gateway.routes.judge_objects import calibration, coverage, judge_lag, judge_standing

TASK = "calibrate_judge"
HISTORY = 20
MOST_STANDINGS = 500
decode_calibration = msgspec.json.Decoder(CalibrationCreate)


@get("/v1/judge_standings")
async def list_standings(sv: Sv, caller: Caller) -> CursorList:
    """Of all judges that are not archived, newest first: trust, lag and what they cost."""
    moment, limit = now(), sv.settings.worker.judge_lag_minutes * 60
    async with sv.database.session() as session:
        newest = repository.judges(caller.project_id).order_by(JudgeRow.created_at.desc(), JudgeRow.id)
        rows = list(await session.scalars(newest.limit(MOST_STANDINGS)))
        versions = await repository.versions_in_force(session, rows)
        found = await standings(session, caller.project_id, rows, versions)
    return cursor_list([judge_standing(each, moment, limit) for each in found], has_more=False)


@get("/v1/judges/{judge_id:str}/lag")
async def retrieve_lag(sv: Sv, caller: Caller, judge_id: FromPath[str]) -> JudgeLag:
    """What it still has to judge, and since when."""
    moment = now()
    async with sv.database.session() as session:
        row = await repository.judge(session, caller.project_id, judge_id)
        found = await lag.of_judge(session, row)
        judged = await lag.judged_since(session, row.id, moment - timedelta(hours=1))
    limit = sv.settings.worker.judge_lag_minutes * 60
    return judge_lag(row, found, moment, limit_seconds=limit, judged=judged)


@get("/v1/judges/{judge_id:str}/trust")
async def retrieve_trust(sv: Sv, caller: Caller, judge_id: FromPath[str]) -> Trust:
    """Whether the version in force may build data and decide unattended, and why not."""
    async with sv.database.session() as session:
        row = await repository.judge(session, caller.project_id, judge_id)
        version = await repository.version(session, row)
        latest, covered = await trust.latest(session, version.id), await trust.covered(session, version.id)
        every = select(CalibrationRow).join(JudgeVersionRow).where(JudgeVersionRow.judge_id == row.id)
        newest = every.order_by(CalibrationRow.created_at.desc(), CalibrationRow.id).limit(HISTORY)
        history = [calibration(each) for each in await session.scalars(newest)]
    reasons = trust.doubts(row, latest, covered)
    return Trust(
        judge_id=row.id,
        judge_version_id=version.id,
        trusted=not reasons,
        reasons=reasons,
        min_kappa=trust.wanted_kappa(row),
        min_n=trust.MIN_N,
        min_coverage=trust.MIN_COVERAGE,
        coverage=coverage(covered),
        calibration=calibration(latest) if latest else None,
        history=history,
    )


@post("/v1/judges/{judge_id:str}/calibrate", status_code=200)
async def calibrate(sv: Sv, caller: Caller, judge_id: FromPath[str], body: RawBody) -> CalibrationQueued:
    """Hold the version in force against people, in a worker; GET .../trust shows what came of it.

    Raises:
        InvalidRequest: there is no such criterion, or it cannot be compared with the judge's.
        Unavailable: the task queue is away.
    """
    wanted = decode(decode_calibration, body.strip() or b"{}")
    async with sv.database.session() as session:
        row = await repository.changeable(session, caller.project_id, judge_id)
        version = await repository.version(session, row)
        own = criterion = await session.get_one(CriterionRow, version.criterion_id)
        if wanted.criterion is not None:
            criterion = await criteria.named(session, caller.project_id, wanted.criterion)
    if (own.kind == "pairwise") is not (criterion.kind == "pairwise") or criterion.kind in ("edit", "text"):
        raise InvalidRequest(
            f"Invalid 'criterion': '{criterion.name}' is {criterion.kind}, and the judge's is {own.kind}.",
            param="criterion",
        )
    await sv.queue.enqueue(TASK, version.id, criterion.id)
    return CalibrationQueued(judge_version_id=version.id, criterion_id=criterion.id)
