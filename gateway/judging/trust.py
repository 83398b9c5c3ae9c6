"""How far a judge can be trusted: what it has judged at all, and how it agreed with people when it was last held
against them (calibrations.py). Nothing heavy is imported here: routes use it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.tables import CalibrationRow, JudgeRow, JudgeVersionRow
from gateway.errors import Conflict

MIN_KAPPA = 0.4
"""Of the lower end of the interval, where a judge names none of its own: "moderate" agreement begins there (Landis & Koch 1977)."""
MIN_N = 30
"""Answers that both judged; with fewer, an interval says little whatever its ends."""
MIN_OF_EACH = 10
"""Answers that people found good, and that they found bad: who finds the only bad one of thirty by chance agrees always."""
MIN_COVERAGE = 0.9
"""Share of what a judge was asked to judge that has a verdict: one that fails on the hard ones is not trusted by the easy ones."""

WHOLE = "superseded_at IS NULL AND identifier = '' AND order_shown IS NULL AND eval_run_id IS NULL"
"""On rows of `judgments`: verdicts in force on real traffic. Members of panels and single orders of comparisons are parts of
one, none of their own."""
COVERAGE = text(f"""
SELECT count(*) FILTER (WHERE status = 'ok') AS ok, count(*) FILTER (WHERE status = 'error') AS errors,
       count(*) FILTER (WHERE status = 'abstained') AS abstained, avg(score) FILTER (WHERE status = 'ok') AS mean_score,
       (SELECT count(*) FROM judging_tasks WHERE judge_version_id = :version AND done_at IS NULL) AS waiting
FROM judgments WHERE judge_version_id = :version AND {WHOLE}
""")  # noqa: S608
CODES = text(f"""
SELECT coalesce(error_code, '') AS code, count(*) AS n FROM judgments
WHERE judge_version_id = :version AND {WHOLE} AND status = 'error' GROUP BY 1
""")  # noqa: S608


@dataclass(frozen=True, slots=True)
class Covered:
    """What became of everything that a version was asked to judge."""

    ok: int
    errors: int
    abstained: int
    waiting: int
    mean_score: float | None
    by_code: dict[str, int]

    @property
    def asked(self) -> int:
        return self.ok + self.errors + self.abstained + self.waiting

    @property
    def share(self) -> float | None:
        return self.ok / self.asked if self.asked else None


async def covered(session: AsyncSession, version_id: str) -> Covered:
    row = (await session.execute(COVERAGE, {"version": version_id})).one()
    codes = await session.execute(CODES, {"version": version_id})
    by_code: dict[str, int] = {each.code: each.n for each in codes}
    return Covered(row.ok, row.errors, row.abstained, row.waiting, row.mean_score, by_code)


async def latest(session: AsyncSession, version_id: str) -> CalibrationRow | None:
    """Of one version."""
    query = select(CalibrationRow).where(CalibrationRow.judge_version_id == version_id)
    return await session.scalar(query.order_by(CalibrationRow.created_at.desc(), CalibrationRow.id).limit(1))


def wanted_kappa(judge: JudgeRow) -> float:
    """That the lower end of its agreement with people has to reach."""
    return judge.min_kappa if judge.min_kappa is not None else MIN_KAPPA


def doubts(judge: JudgeRow, calibration: CalibrationRow | None, coverage: Covered) -> list[str]:
    """Why a version is not trusted; empty when it is."""
    return [*_about_agreement(judge, calibration), *_about_coverage(coverage)]


def agrees(judge: JudgeRow, calibration: CalibrationRow | None) -> bool:
    """Whether its agreement with people was shown, whatever it covers."""
    return not _about_agreement(judge, calibration)


def _about_agreement(judge: JudgeRow, calibration: CalibrationRow | None) -> list[str]:
    wanted = wanted_kappa(judge)
    if calibration is None:
        return ["It was never held against people's judgments (POST /v1/judges/{id}/calibrate)."]
    found: list[str] = []
    if calibration.n < MIN_N:
        found.append(f"People have judged {calibration.n} of the answers that it judged; {MIN_N} are needed.")
    if calibration.kappa is None or calibration.kappa_low is None:
        found.append(
            f"Its agreement with people is not defined: {calibration.report.get('reason') or 'nothing to compare'}."
        )
    elif calibration.kappa_low < wanted:
        found.append(
            f"Its agreement with people (kappa {calibration.kappa:.2f}) may be as low as {calibration.kappa_low:.2f}; "
            f"{wanted:.2f} is needed."
        )
    return found + _about_variety(calibration.report)


def _about_variety(report: dict[str, Any]) -> list[str]:
    """Agreement on answers that are all alike tells nothing of the others."""
    if report.get("compared") == "passed":
        good, bad = report["sensitivity"]["n"], report["specificity"]["n"]
        if min(good, bad) < MIN_OF_EACH:
            return [f"People found {good} of these answers good and {bad} bad; {MIN_OF_EACH} of each are needed."]
    elif report.get("minority", MIN_OF_EACH) < MIN_OF_EACH:
        return [
            f"People said the same of all but {report['minority']} of these answers; {MIN_OF_EACH} others are needed."
        ]
    return []


def _about_coverage(coverage: Covered) -> list[str]:
    """Fails closed: without a verdict nothing is known."""
    if coverage.share is None:
        return ["It has judged nothing yet."]
    if coverage.share < MIN_COVERAGE:
        return [
            f"It has a verdict on {coverage.share:.0%} of what it was asked to judge; {MIN_COVERAGE:.0%} are needed."
        ]
    return []


async def require_trusted(session: AsyncSession, judge_version_ids: Iterable[str]) -> None:
    """Raises Conflict, which names every judge that is not trusted and why; versions that rules follow need no trust."""
    told: list[str] = []
    for version_id in sorted(set(judge_version_ids)):
        version = await session.get_one(JudgeVersionRow, version_id)
        judge = await session.get_one(JudgeRow, version.judge_id)
        if judge.kind == "rule":
            continue
        reasons = doubts(judge, await latest(session, version_id), await covered(session, version_id))
        if reasons:
            told.append(f"The judge '{judge.name}' (version {version.number}) is not trusted: {' '.join(reasons)}")
    if told:
        raise Conflict(" ".join(told), code="judge_not_trusted")
