"""What rules said before an answer left, on its way into the database."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import delete, select

from gateway.db.database import Database
from gateway.db.tables import ExchangeDeletionRow, JudgeRow, JudgeVersionRow, JudgmentRow, ProjectRow
from gateway.exchanges import checked, record
from gateway.exchanges.checked import CheckSaid, RuleSaid
from gateway.exchanges.drain import Drain
from gateway.exchanges.policy import erased, kept
from gateway.exchanges.spool import Spool
from gateway.judging import repository, specs
from gateway.judgments import criteria
from gateway.kit.clock import now
from gateway.metering.ledger import Ledger
from gateway.metering.rollups import post_rollups
from gateway.protocol.judges import LlmSpec, RuleSpec, Spec
from gateway.rule_judgments import RuleJudgments
from judges.rules.formats import Json
from tests.gateway.exchanges.records import exchange
from tests.gateway.logged import stored

pytestmark = pytest.mark.anyio

SAID = CheckSaid(
    check="form",
    mode="block",
    route="r@3",
    rules=[{"type": "json"}],
    passed=False,
    score=0.0,
    rationale="json: 'secret' is no JSON",
    said=[RuleSaid(rule="json", passed=False, score=0.0, found={"n": 1})],
    ms=1.5,
)


def said(**changes: Any) -> bytes:
    return checked.encode([msgspec.structs.replace(SAID, **changes)])


@pytest.fixture
async def spool(tmp_path: Path, database: Database) -> AsyncIterator[Spool]:
    async with database.session() as session:
        for id in ("proj_1", "proj_2"):
            session.add(ProjectRow(id=id, name=id, created_at=now()))
    spool = Spool(tmp_path / "spool", segment_bytes=1 << 20)
    yield spool
    spool.close()


@pytest.fixture
def drain(spool: Spool, database: Database) -> Drain:
    return Drain(spool, database, post=Ledger([post_rollups]).post, judgments=RuleJudgments(database))


async def judgments(database: Database) -> list[JudgmentRow]:
    async with database.session() as session:
        return list(await session.scalars(select(JudgmentRow).order_by(JudgmentRow.exchange_id)))


async def versions(database: Database) -> list[tuple[str, int]]:
    query = select(JudgeRow.name, JudgeVersionRow.number).join(JudgeVersionRow, JudgeVersionRow.judge_id == JudgeRow.id)
    async with database.session() as session:
        return [(name, number) for name, number in await session.execute(query.order_by(JudgeVersionRow.created_at))]


async def make_judge(database: Database, name: str, spec: Spec, project: str = "proj_1") -> str:
    """Its version."""
    async with database.session() as session:
        criterion = await criteria.by_name(session, project, "thumbs")
        row = await repository.create(session, project, name, specs.kind_of(spec), watch=None, min_kappa=None)
        return (await repository.add_version(session, row, criterion, specs.stored(spec), "")).id


class TestDrain:
    async def test_a_verdict_is_a_judgment_with_the_exchange(
        self, drain: Drain, spool: Spool, database: Database
    ) -> None:
        spool.append(record.encode(exchange("req_1", verdicts=said(choice_index=1))))
        await drain.drain()
        [row] = await judgments(database)
        assert (row.exchange_id, row.choice_index, row.kind, row.source) == ("req_1", 1, "boolean", "rule")
        assert (row.passed, row.raw_value, row.score, row.tags) == (False, False, 0.0, ["json"])
        assert (row.status, row.error_code, row.latency_ms, row.rationale) == ("ok", None, 1.5, SAID.rationale)
        assert row.judgment_metadata == {
            "inline": {"check": "form", "mode": "block", "route": "r@3"},
            "rules": [{"rule": "json", "passed": False, "score": 0.0, "found": {"n": 1}}],
        }
        assert row.superseded_at is None

    async def test_a_segment_that_is_read_twice_is_judged_once(
        self, drain: Drain, spool: Spool, database: Database
    ) -> None:
        for _ in range(2):
            spool.append(record.encode(exchange("req_1", verdicts=said())))
            await drain.drain()
        assert len(await judgments(database)) == 1

    async def test_an_erased_exchange_is_not_judged(self, drain: Drain, spool: Spool, database: Database) -> None:
        values = {"project_id": "proj_1", "deleted_at": now(), "deleted_by": "x"}
        async with database.session() as session:
            session.add(ExchangeDeletionRow(exchange_id="req_1", **values))
        for id in ("req_1", "req_2"):
            spool.append(record.encode(exchange(id, verdicts=said())))
        await drain.drain()
        assert [row.exchange_id for row in await judgments(database)] == ["req_2"]
        assert len(await stored(database)) == 2

    @pytest.mark.parametrize(
        "verdicts", [b"{", said(rules=[{"type": "gone"}]), said(judge_version_id="judgever_gone", rules=[])]
    )
    async def test_what_cannot_be_understood_costs_no_exchange(
        self, drain: Drain, spool: Spool, database: Database, verdicts: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        spool.append(record.encode(exchange("req_1", verdicts=verdicts)))
        spool.append(record.encode(exchange("req_2", verdicts=said())))
        await drain.drain()
        assert len(await stored(database)) == 2
        expected = ["req_2"] if "is lost" in caplog.text else ["req_1", "req_2"]
        assert [row.exchange_id for row in await judgments(database)] == expected

    async def test_nor_does_a_judge_that_went(self, drain: Drain, spool: Spool, database: Database) -> None:
        spool.append(record.encode(exchange("req_1", verdicts=said())))
        await drain.drain()
        async with database.session() as session:
            for row in (JudgmentRow, JudgeVersionRow, JudgeRow):
                await session.execute(delete(row))
        spool.append(record.encode(exchange("req_2", verdicts=said(score=2.0))))
        await drain.drain()
        assert len(await stored(database)) == 2
        assert await judgments(database) == []

    async def test_a_score_that_is_none_is_left_out(self, drain: Drain, spool: Spool, database: Database) -> None:
        spool.append(record.encode(exchange("req_1", verdicts=said(score=2.0))))
        await drain.drain()
        assert [(row.score, row.passed) for row in await judgments(database)] == [(None, False)]

    async def test_nul_in_what_rules_say_is_stored_as_what_it_is_not(
        self, drain: Drain, spool: Spool, database: Database
    ) -> None:
        spool.append(record.encode(exchange("req_1", verdicts=said(rationale="a\x00b"))))
        await drain.drain()
        assert [row.rationale for row in await judgments(database)] == ["a\ufffdb"]


class TestJudges:
    async def test_other_rules_are_another_version_and_old_ones_the_old(
        self, drain: Drain, spool: Spool, database: Database
    ) -> None:
        old, new = [{"type": "json"}], [{"type": "refusal"}]
        for number, rules in enumerate((old, new, old)):
            spool.append(record.encode(exchange(f"req_{number}", verdicts=said(rules=rules))))
            await drain.drain()
        assert await versions(database) == [("inline.form", 1), ("inline.form", 2)]
        first, second, third = await judgments(database)
        assert first.judge_version_id == third.judge_version_id != second.judge_version_id

    async def test_each_project_has_its_own(self, drain: Drain, spool: Spool, database: Database) -> None:
        for project in ("proj_1", "proj_2"):
            spool.append(record.encode(exchange(f"req_{project}", project_id=project, verdicts=said())))
        await drain.drain()
        rows = await judgments(database)
        assert len({row.judge_version_id for row in rows}) == len({row.criterion_id for row in rows}) == 2

    async def test_a_model_of_that_name_is_left_alone(self, drain: Drain, spool: Spool, database: Database) -> None:
        await make_judge(database, "inline.form", LlmSpec(model="m"))
        spool.append(record.encode(exchange("req_1", verdicts=said())))
        await drain.drain()
        (_, (name, number)) = await versions(database)
        assert (name[:12], len(name), number) == ("inline.form.", 20, 1)
        assert len(await judgments(database)) == 1

    async def test_that_of_a_judge_is_its_own(self, drain: Drain, spool: Spool, database: Database) -> None:
        version = await make_judge(database, "house", RuleSpec(rules=[Json()]))
        spool.append(record.encode(exchange("req_1", verdicts=said(judge_version_id=version))))
        await drain.drain()
        assert [row.judge_version_id for row in await judgments(database)] == [version]

    async def test_that_of_another_project_is_not(self, drain: Drain, spool: Spool, database: Database) -> None:
        version = await make_judge(database, "house", RuleSpec(rules=[Json()]), "proj_2")
        spool.append(record.encode(exchange("req_1", verdicts=said(judge_version_id=version))))
        await drain.drain()
        [row] = await judgments(database)
        assert row.judge_version_id != version
        assert ("inline.form", 1) in await versions(database)


class TestPolicy:
    def test_metadata_keeps_verdicts_without_words(self) -> None:
        [bare] = checked.decode(kept(exchange("req_1", logging="metadata", verdicts=said())).verdicts or b"")
        assert bare == msgspec.structs.replace(SAID, rationale=None)

    def test_off_and_erased_keep_none(self) -> None:
        assert kept(exchange("req_1", logging="off", verdicts=said())).verdicts is None
        assert erased(exchange("req_1", verdicts=said())).verdicts is None

    def test_no_verdicts_stay_none(self) -> None:
        assert kept(exchange("req_1", logging="metadata")).verdicts is None
