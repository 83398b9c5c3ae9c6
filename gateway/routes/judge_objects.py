"""Judges, their lag and their trust as the API shows them."""

from datetime import datetime

from gateway.db.tables import CalibrationRow, CriterionRow, JudgeRow, JudgeVersionRow
from gateway.judging import specs, trust, watching
from gateway.judging.lag import Lag
from gateway.judging.standings import Standing
from gateway.judging.trust import Covered
from gateway.kit.clock import unix
from gateway.kit.money import usd_from_nano
from gateway.protocol.judges import Calibration, Coverage, Judge, JudgeLag, JudgeStanding, JudgeVersion


def judge(row: JudgeRow, version: JudgeVersionRow, criterion: CriterionRow) -> Judge:
    watched = watching.watched(row)
    watch = watched.watch if watched else None
    return Judge(
        id=row.id,
        created_at=unix(row.created_at),
        updated_at=unix(row.updated_at),
        name=row.name,
        kind="rule" if row.kind == "rule" else "llm",
        version=judge_version(version, criterion),
        watch=watch,
        watched_since=watched.since if watched else None,
        min_kappa=trust.wanted_kappa(row),
        archived_at=unix(row.archived_at) if row.archived_at else None,
        warnings=specs.warnings(specs.read(version.spec), watch),
    )


def judge_version(row: JudgeVersionRow, criterion: CriterionRow) -> JudgeVersion:
    return JudgeVersion(
        id=row.id,
        judge_id=row.judge_id,
        number=row.number,
        created_at=unix(row.created_at),
        created_by=row.created_by,
        criterion_id=row.criterion_id,
        criterion=criterion.name,
        criterion_version=criterion.version,
        spec=row.spec,
        spec_sha256=row.spec_sha256,
    )


def judge_lag(row: JudgeRow, lag: Lag, moment: datetime, *, limit_seconds: float, judged: int) -> JudgeLag:
    seconds = lag.seconds(moment)
    return JudgeLag(
        judge_id=row.id,
        waiting=lag.waiting,
        under_way=lag.under_way,
        tried=lag.tried,
        oldest_at=unix(lag.oldest) if lag.oldest else None,
        lag_seconds=round(seconds, 1),
        late=seconds > limit_seconds,
        judged_last_hour=judged,
    )


def calibration(row: CalibrationRow) -> Calibration:
    return Calibration(
        id=row.id,
        created_at=unix(row.created_at),
        judge_version_id=row.judge_version_id,
        criterion_id=row.criterion_id,
        n=row.n,
        kappa=row.kappa,
        kappa_low=row.kappa_low,
        kappa_high=row.kappa_high,
        sensitivity=row.sensitivity,
        specificity=row.specificity,
        report=row.report,
    )


def coverage(found: Covered) -> Coverage:
    return Coverage(
        asked=found.asked,
        ok=found.ok,
        errors=found.errors,
        abstained=found.abstained,
        waiting=found.waiting,
        share=found.share,
        by_code=found.by_code,
        mean_score=found.mean_score,
    )


def judge_standing(found: Standing, moment: datetime, limit_seconds: float) -> JudgeStanding:
    calibrated, seconds = found.calibration, found.lag.seconds(moment)
    reasons = [] if found.judge.kind == "rule" else found.doubts
    return JudgeStanding(
        id=found.judge.id,
        judge_version_id=found.version_id,
        trusted=not reasons,
        reasons=reasons,
        n=calibrated.n if calibrated else 0,
        kappa=calibrated.kappa if calibrated else None,
        kappa_low=calibrated.kappa_low if calibrated else None,
        kappa_high=calibrated.kappa_high if calibrated else None,
        asked=found.covered.asked,
        coverage=found.covered.share,
        mean_score=found.covered.mean_score,
        waiting=found.lag.waiting,
        lag_seconds=round(seconds, 1),
        late=seconds > limit_seconds,
        calls=found.calls,
        cost_usd=usd_from_nano(found.cost_nano),
    )
