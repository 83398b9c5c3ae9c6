"""What rules said of an answer before it left becomes judgments, in the transaction that brings the exchange to the log.

The rules of a route's check are a judge of each project that calls the route, `inline.` and the check's name, made when the
first of its verdicts comes to the database: a route of the settings, or one for every project, is no project's own.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from gateway.db.database import Database
from gateway.db.tables import CriterionRow, JudgeRow, JudgeVersionRow
from gateway.errors import Unavailable
from gateway.exchanges import checked
from gateway.exchanges.checked import CheckSaid
from gateway.exchanges.record import Record
from gateway.exchanges.rows import storable_json
from gateway.judging import repository, specs
from gateway.judgments import criteria
from gateway.judgments.verdict import Verdict
from gateway.kit.clock import now
from gateway.kit.ids import new_sorted_id
from gateway.protocol.criteria import CriterionSpec
from gateway.protocol.judges import RuleSpec
from judges.rules.written import AnyRule

log = logging.getLogger(__name__)

PREFIX = "inline."
LONGEST_NAME = 64
MOST_KNOWN = 10_000
WRITE = """
INSERT INTO judgments SELECT new.* FROM jsonb_populate_recordset(NULL::judgments, $1::jsonb) AS new
WHERE EXISTS (SELECT FROM judge_versions WHERE id = new.judge_version_id)
    AND EXISTS (SELECT FROM criteria WHERE id = new.criterion_id)
ON CONFLICT DO NOTHING
"""
"""A judge that went since it was found takes its judgments with it, and not the exchanges."""
Row = dict[str, Any]
Judge = tuple[str, CriterionRow]
"""Id of a judge's version, and its criterion."""


class RuleJudgments:
    """Finds and makes judges; remembers them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, str], Judge] = {}

    async def of(self, records: Sequence[Record]) -> list[Row]:
        """Rows of `judgments`, as JSON has them. What cannot be understood is logged and left out: an exchange is worth
        more than what was said of it.

        Raises Unavailable.
        """
        rows: list[Row] = []
        for record in records:
            try:
                rows += [await self._row(record, each) for each in checked.decode(record.verdicts or b"[]")]
            except Unavailable:
                raise
            except Exception:
                log.exception("what rules said of %s is lost", record.id)
        return rows

    async def write(self, connection: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        """Args: connection: asyncpg's, in the transaction of the log."""
        if rows:
            await connection.execute(WRITE, storable_json(msgspec.json.encode(rows)))

    async def _row(self, record: Record, said: CheckSaid) -> Row:
        version_id, criterion = await self._judge(record.project_id, said)
        verdict = _verdict(record, said, version_id, criterion)
        own = {"id": new_sorted_id("judgment_"), "created_at": now().isoformat()}
        return msgspec.to_builtins(verdict) | own | {"supersedes_id": None, "superseded_at": None}

    async def _judge(self, project_id: str, said: CheckSaid) -> Judge:
        key = (project_id, said.judge_version_id or said.check + msgspec.json.encode(said.rules).decode())
        if key not in self._known:
            async with self._database.session() as session:
                found = await _find_or_make(session, project_id, said)
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[key] = found
        return self._known[key]


def _verdict(record: Record, said: CheckSaid, version_id: str, criterion: CriterionRow) -> Verdict:
    inline = {"check": said.check, "mode": said.mode, "route": said.route}
    return Verdict(
        project_id=record.project_id,
        exchange_id=record.id,
        choice_index=said.choice_index,
        criterion_id=criterion.id,
        kind=criterion.kind,
        source="rule",
        judge_version_id=version_id,
        status="error" if said.passed is None else "ok",
        error_code=said.error_code if said.passed is None else None,
        score=said.score if said.passed is not None and said.score is not None and 0 <= said.score <= 1 else None,
        raw_value=said.passed,
        passed=said.passed,
        rationale=said.rationale,
        tags=sorted({each.rule for each in said.said if each.passed is False}),
        latency_ms=said.ms,
        sampling={"probability": 1.0, "policy": "inline"},
        judgment_metadata={"inline": inline, "rules": msgspec.to_builtins(said.said)},
    )


async def _find_or_make(session: AsyncSession, project_id: str, said: CheckSaid) -> Judge:
    if said.judge_version_id is not None and (named := await _named(session, project_id, said.judge_version_id)):
        return named
    spec = specs.stored(RuleSpec(rules=msgspec.convert(said.rules, list[AnyRule])))
    judge = await _own(session, project_id, said.check, spec[1])
    query = select(JudgeVersionRow).where(JudgeVersionRow.judge_id == judge.id, JudgeVersionRow.spec_sha256 == spec[1])
    version = await session.scalar(query.order_by(JudgeVersionRow.number.desc()).limit(1))
    if version is not None:
        return version.id, await session.get_one(CriterionRow, version.criterion_id)
    wanted = CriterionSpec(name=f"rules.{judge.name}"[:LONGEST_NAME], kind="boolean", description=specs.OF_RULES)
    criterion = await criteria.find_or_make(session, project_id, wanted, "")
    return (await repository.add_version(session, judge, criterion, spec, "")).id, criterion


async def _named(session: AsyncSession, project_id: str, version_id: str) -> Judge | None:
    """A judge that the route takes its rules from."""
    query = select(JudgeVersionRow).join(JudgeRow, JudgeRow.id == JudgeVersionRow.judge_id)
    version = await session.scalar(query.where(JudgeVersionRow.id == version_id, JudgeRow.project_id == project_id))
    return (version.id, await session.get_one(CriterionRow, version.criterion_id)) if version else None


async def _own(session: AsyncSession, project_id: str, check: str, digest: str) -> JudgeRow:
    """Locked. Where somebody has made a model of that name a judge, another name is taken."""
    key = {"key": f"inline judge:{project_id}:{check}"}
    await session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), key)
    for name in (PREFIX + check, f"{PREFIX}{check}.{digest[:8]}"):
        rows = repository.judges(project_id).where(JudgeRow.name == name).with_for_update()
        row = await session.scalar(rows)
        if row is None:
            return await repository.create(session, project_id, name, "rule", watch=None, min_kappa=None)
        if row.kind == "rule":
            return row
    raise ValueError(f"the judges `{PREFIX}{check}...` of {project_id} are models")
