"""What nobody may keep any longer goes, and nothing else."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import func, null, select, text

from admin.usage import rebuild_usage
from gateway.app import App
from gateway.db import partitions
from gateway.db.database import Database
from gateway.db.partitions import EXCHANGES, PARTITIONED, next_month, parts, split
from gateway.db.tables import (
    AuditLogRow,
    ExchangeRow,
    ExchangeTextRow,
    JudgmentRow,
    StoredCompletionRow,
)
from gateway.exchanges import removal
from gateway.kit.clock import now, unix
from gateway.kit.ids import first_request_id
from gateway.metering.traffic_rebuild import rebuild_traffic
from gateway.metering.traffic_rollups import TABLES
from gateway.retention import repository
from gateway.retention_settings import RetentionSettings
from gateway.services import WorkerServices
from gateway.tasks.apply_retention import Round, apply_retention
from tests.conftest import chat, create_key
from tests.gateway.routes.test_exchanges import add

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


def today() -> datetime:
    """When it began. A run of all tests may go on beyond midnight."""
    return now().replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def project(project_key: dict[str, Any]) -> str:
    return project_key["project_id"]


@pytest.fixture
async def other(admin: httpx.AsyncClient) -> str:
    return (await create_key(admin, "other"))["project_id"]


def keeps(wv: WorkerServices, **periods: Any) -> WorkerServices:
    """The same worker, with other settings."""
    settings = msgspec.structs.replace(wv.settings, retention=RetentionSettings(**periods))
    object.__setattr__(wv, "settings", settings)
    return wv


async def keep(database: Database, project: str, **days: int | None) -> None:
    async with database.session() as session:
        await repository.change_periods(session, project, days)


async def logged(database: Database, project: str, *ages: timedelta) -> list[str]:
    """Exchanges that began so long before today, with all that hangs on them and counted in traffic; their ids."""
    moments = [unix(today() - age) for age in ages]
    own = {"project_id": project, "logging": "full", "error": null(), "attempts": null()}
    ids = await add(
        database,
        *(own | {"id": f"{first_request_id(at)}{os.urandom(8).hex()}", "created_at": at} for at in moments),
    )
    async with database.session() as session:
        for id in ids:
            session.add(ExchangeTextRow(exchange_id=id, question="q", answer="a", words=func.to_tsvector("q")))
            session.add(
                StoredCompletionRow(
                    exchange_id=id, project_id=project, completion_id=f"c-{id}", model="m", created_at=now(),
                    completion_metadata={"said": "zebra"}, deleted_at=None,
                )
            )  # fmt: skip
    async with database.raw() as connection:
        await connection.execute(
            "CREATE TEMP TABLE counted ON COMMIT DROP AS SELECT * FROM exchanges WHERE id = ANY($1::text[])", ids
        )
        for table in TABLES:
            await connection.execute(table.adding(table.of("counted")))
    return ids


async def judge(database: Database, project: str, ids: Sequence[str], **changes: Any) -> None:
    async with database.session() as session:
        criterion = f"crit_{project}"
        await session.execute(
            text("""INSERT INTO criteria (id, project_id, created_at, created_by, name, version, kind, description, direction,
                level) VALUES (:id, :project, now(), '', 'thumbs', 1, 'boolean', '', 'max', 'exchange')
                ON CONFLICT DO NOTHING"""),
            {"id": criterion, "project": project},
        )
        for id in ids:
            values = {
                "id": f"judgment_{id}{changes.get('eval_run_id', '')}", "project_id": project, "created_at": now(),
                "exchange_id": id, "source": "human", "criterion_id": criterion, "kind": "boolean", "passed": True,
                "raw_value": True, "rationale": "zebra", "status": "ok",
            }  # fmt: skip
            session.add(JudgmentRow(**values | changes))


async def left(database: Database, row: Any = ExchangeRow, key: str = "id") -> set[str]:
    async with database.session() as session:
        return set(await session.scalars(select(getattr(row, key))))


async def traffic(database: Database) -> list[Any]:
    async with database.session() as session:
        return list(await session.execute(text("SELECT * FROM traffic_days ORDER BY 1, 2, 3, 4")))


async def told(database: Database) -> list[tuple[str | None, Any]]:
    async with database.session() as session:
        rows = await session.execute(
            select(AuditLogRow.project_id, AuditLogRow.detail).where(AuditLogRow.actor_id == "tuneway")
        )
        return [(project, detail["changes_requested"]["retention"]) for project, detail in rows]


class TestNothingByDefault:
    async def test_everything_stays(self, wv: WorkerServices, database: Database, project: str) -> None:
        ids = await logged(database, project, 4000 * DAY)
        await apply_retention(wv)
        assert await left(database) == set(ids)
        assert await told(database) == []


class TestBodies:
    async def test_go_on_their_day_and_figures_stay(
        self, wv: WorkerServices, database: Database, project: str, other: str
    ) -> None:
        await keep(database, project, body_days=30)
        old, young = await logged(database, project, 30 * DAY + timedelta(seconds=1), 30 * DAY)
        (others,) = await logged(database, other, 60 * DAY)
        await judge(database, project, [old, young])
        await apply_retention(wv)
        async with database.session() as session:
            rows = {row.id: row for row in await session.scalars(select(ExchangeRow))}
            stored = {row.exchange_id: row for row in await session.scalars(select(StoredCompletionRow))}
            said = {row.exchange_id: row for row in await session.scalars(select(JudgmentRow))}
        assert (rows[old].request, rows[old].reply, rows[old].logging) == (b"", None, "metadata")
        assert rows[old].cost_nano == rows[young].cost_nano
        assert (said[old].rationale, said[old].passed, said[young].rationale) == (None, True, "zebra")
        assert stored[old].deleted_at is not None
        assert stored[old].completion_metadata is None
        for kept in (young, others):
            assert rows[kept].logging == "full"
            assert rows[kept].request
            assert stored[kept].deleted_at is None
        assert await left(database, ExchangeTextRow, "exchange_id") == {young, others}
        before = unix(today() - 30 * DAY)
        assert await told(database) == [(project, {"removed": "bodies", "count": 1, "before": before})]

    async def test_wait_for_no_month(self, wv: WorkerServices, database: Database, project: str) -> None:
        """Exchanges that were due as early go with the last of their month, what was said in them does not."""
        month = (today() - 40 * DAY).replace(day=1)
        days = (today() - month).days - 5
        old, young = await logged(database, project, (days + 1) * DAY, (days - 1) * DAY)
        await apply_retention(keeps(wv, body_days=days, exchange_days=days))
        async with database.session() as session:
            rows = {row.id: row.logging for row in await session.scalars(select(ExchangeRow))}
        assert rows == {old: "metadata", young: "full"}

    async def test_batch_after_batch(
        self, wv: WorkerServices, database: Database, project: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(removal, "AT_A_TIME", 2)
        await keep(database, project, body_days=30)
        await logged(database, project, *(day * DAY for day in range(31, 38)))
        await apply_retention(wv)
        async with database.session() as session:
            assert set(await session.scalars(select(ExchangeRow.logging))) == {"metadata"}
        assert await left(database, ExchangeTextRow, "exchange_id") == set()

    async def test_what_came_late_goes_the_next_day(self, wv: WorkerServices, database: Database, project: str) -> None:
        await keep(database, project, body_days=30)
        await Round(wv, today()).run()
        await logged(database, project, 32 * DAY)
        await Round(wv, today()).run()
        async with database.session() as session:
            assert list(await session.scalars(select(ExchangeRow.logging))) == ["full"]
        await Round(wv, today() + DAY).run()
        async with database.session() as session:
            assert list(await session.scalars(select(ExchangeRow.logging))) == ["metadata"]


class TestExchanges:
    async def test_of_a_project_that_keeps_them_shorter_go_on_their_day(
        self, wv: WorkerServices, database: Database, project: str, other: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(removal, "AT_A_TIME", 2)
        await keep(database, project, exchange_days=30)
        old = await logged(database, project, *(day * DAY for day in range(31, 36)))
        (young,) = await logged(database, project, 29 * DAY)
        (others,) = await logged(database, other, 60 * DAY)
        await judge(database, project, [*old, young])
        await judge(database, project, old[:1], eval_run_id="run_1", identifier="item")
        await judge(database, other, [others])
        counted = await traffic(database)
        await apply_retention(wv)
        kept = {young, others}
        assert await left(database) == kept
        assert await left(database, ExchangeTextRow, "exchange_id") == kept
        assert await left(database, StoredCompletionRow, "exchange_id") == kept
        assert await left(database, JudgmentRow, "exchange_id") == kept | {old[0]}  # of the run, whose result it is
        assert await left(database, JudgmentRow, "eval_run_id") == {None, "run_1"}
        assert await traffic(database) == counted
        await rebuild_traffic(database)
        assert await traffic(database) == counted
        before = unix(today() - 30 * DAY)
        assert await told(database) == [(project, {"removed": "exchanges", "count": 5, "before": before})]

    async def test_a_worker_that_died_is_followed_by_one_that_goes_on(
        self, wv: WorkerServices, database: Database, project: str, other: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(removal, "AT_A_TIME", 2)
        await keep(database, project, exchange_days=30)
        await logged(database, project, *(day * DAY for day in range(31, 36)))
        true, calls = removal.remove_next, []

        async def dying(*arguments: Any) -> int:
            calls.append(1)
            if len(calls) == 2:
                raise RuntimeError("killed")
            return await true(*arguments)

        monkeypatch.setattr(removal, "remove_next", dying)
        with pytest.raises(RuntimeError):
            await apply_retention(wv)
        assert len(await left(database)) == 3
        async with database.session() as session:
            (mark,) = (await repository.marks(session, "exchanges")).values()
        assert (mark.until, mark.done) == (today() - 30 * DAY, None)
        await apply_retention(wv)
        assert await left(database) == set()

    async def test_one_worker_at_a_time(self, wv: WorkerServices, database: Database, project: str) -> None:
        await keep(database, project, body_days=30)
        await logged(database, project, 40 * DAY)
        async with database.session() as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(7416023118)"))
            await apply_retention(wv)
            assert list(await session.scalars(select(ExchangeRow.logging))) == ["full"]


async def by_months(database: Database, months: int) -> list[datetime]:
    """The table as if Tuneway had run for so long; the beginnings of months, the oldest first."""
    begins = [today().replace(day=1)]
    while len(begins) < months:
        begins.append((begins[-1] - DAY).replace(day=1))
    begins.reverse()
    for table in PARTITIONED:
        async with database.session() as session:
            earlier = (await parts(session, table))[0]
            await split(session, earlier, [first_request_id(unix(begin)) for begin in begins])
    return begins


class TestMonths:
    async def test_are_dropped_once_everybodys_time_has_passed(
        self, wv: WorkerServices, database: Database, project: str, other: str
    ) -> None:
        """The longest period decides; nobody's row is deleted by itself."""
        begins = await by_months(database, 6)
        keeps(wv, exchange_days=60)
        await keep(database, other, exchange_days=75)
        ages = [today() - begin - 10 * DAY for begin in begins[:-1]]
        mine, theirs = await logged(database, project, *ages), await logged(database, other, *ages)
        await judge(database, project, mine)
        counted = await traffic(database)
        await apply_retention(wv)
        gone = [next_month(begin) <= today() - 75 * DAY for begin in begins[:-1]]
        short = [today() - age < today() - 60 * DAY for age in ages]
        assert any(gone)
        assert await left(database) == {
            *(id for id, is_gone in zip(theirs, gone, strict=True) if not is_gone),
            *(id for id, is_gone, is_short in zip(mine, gone, short, strict=True) if not is_gone and not is_short),
        }
        assert await left(database, ExchangeTextRow, "exchange_id") == await left(database)
        assert await left(database, JudgmentRow, "exchange_id") == await left(database) & set(mine)
        assert await left(database, StoredCompletionRow, "exchange_id") == await left(database)
        assert await traffic(database) == counted
        await rebuild_traffic(database)
        assert await traffic(database) == counted
        async with database.session() as session:
            for table in PARTITIONED:
                assert (await parts(session, table))[0].end == first_request_id(unix(begins[sum(gone)]))
            mark = (await repository.marks(session, "exchanges"))[repository.EVERYBODY]
        assert mark.until == begins[sum(gone)]
        counts = [(each["count"], project_id) for project_id, each in await told(database)]
        assert (sum(gone), other) in counts

    async def test_go_out_of_the_log_of_before_there_were_parts(
        self, wv: WorkerServices, database: Database, project: str
    ) -> None:
        """Its part ends with the month of the upgrade: what is years old does not wait for that."""
        month = (today() - 40 * DAY).replace(day=1)
        ages = [4000 * DAY, today() - month + timedelta(seconds=1), today() - month]
        *old, young = await logged(database, project, *ages)
        await judge(database, project, [*old, young])
        counted = await traffic(database)
        await apply_retention(keeps(wv, exchange_days=(today() - month).days - 5))
        assert await left(database) == {young}
        assert await left(database, ExchangeTextRow, "exchange_id") == {young}
        assert await left(database, JudgmentRow, "exchange_id") == {young}
        await rebuild_traffic(database)
        assert await traffic(database) == counted
        before = unix(month)
        assert await told(database) == [(project, {"removed": "exchanges", "count": 2, "before": before})]

    async def test_a_project_that_keeps_them_for_ever_keeps_its_months(
        self, wv: WorkerServices, database: Database, project: str, other: str
    ) -> None:
        await by_months(database, 4)
        keeps(wv, exchange_days=30)
        await keep(database, other, exchange_days=0)
        await logged(database, project, 100 * DAY)
        theirs = await logged(database, other, 100 * DAY)
        await apply_retention(wv)
        assert await left(database) == set(theirs)
        async with database.session() as session:
            assert len(await parts(session, EXCHANGES)) == 6

    async def test_each_on_its_day_where_that_is_wanted(
        self, wv: WorkerServices, database: Database, project: str
    ) -> None:
        begins = await by_months(database, 3)
        day = (today() - begins[1]).days - 5
        old, young = await logged(database, project, (day + 1) * DAY, (day - 1) * DAY)
        await apply_retention(keeps(wv, exchange_days=day))
        assert await left(database) == {old, young}
        await apply_retention(keeps(wv, exchange_days=day, whole_months=False))
        assert await left(database) == {young}

    async def test_a_call_that_ended_in_the_next_month_keeps_its_own(
        self, wv: WorkerServices, database: Database, project: str
    ) -> None:
        begins = await by_months(database, 4)
        end = begins[1]
        late = first_request_id(unix(end) - 1) + "0" * 16
        days = (today() - end).days
        await add(database, {"project_id": project, "id": late, "created_at": unix(end)})
        await apply_retention(keeps(wv, exchange_days=days))
        assert await left(database) == {late}
        await Round(keeps(wv, exchange_days=days), today() + DAY).run()
        assert await left(database) == set()

    async def test_a_log_in_use_is_for_the_next_round(
        self, wv: WorkerServices, database: Database, project: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(partitions, "PATIENCE", "10ms")
        await by_months(database, 4)
        ids = await logged(database, project, 100 * DAY)
        async with database.session() as reader:
            await reader.execute(text("SELECT count(*) FROM exchanges"))
            await apply_retention(keeps(wv, exchange_days=30))
            assert await left(database) == set(ids)
        await apply_retention(wv)
        assert await left(database) == set()

    async def test_the_month_of_today_is_never_dropped(
        self, wv: WorkerServices, database: Database, project: str
    ) -> None:
        ids = await logged(database, project, timedelta(0))
        await Round(keeps(wv, exchange_days=1), datetime(2031, 5, 1, tzinfo=UTC)).run()
        assert await left(database) == set()  # of a time that is over by then
        ids = await add(database, {"project_id": project, "created_at": unix(now())})
        await apply_retention(keeps(wv, exchange_days=1))
        assert await left(database) == set(ids)


class TestMoney:
    async def test_usage_and_costs_are_the_same_without_the_log(
        self, wv: WorkerServices, app: App, admin: httpx.AsyncClient, client: httpx.AsyncClient, database: Database
    ) -> None:
        """And so they are when all sums are made anew."""
        (await client.post("/v1/chat/completions", json=chat("echo"))).raise_for_status()
        await app.services.drain.drain()
        asked = {"start_time": unix(today()), "end_time": unix(today() + 2 * DAY), "bucket_width": "1d"}

        async def reports() -> list[Any]:
            urls = ("usage/completions", "costs", "traffic")
            return [(await admin.get(f"/v1/organization/{url}", params=asked)).json() for url in urls]

        before = await reports()
        assert before[0]["data"][0]["results"][0]["num_model_requests"] == 1
        await Round(keeps(wv, exchange_days=30), today() + 400 * DAY).run()
        assert await left(database) == set()
        assert await reports() == before
        outcome = await rebuild_usage(wv.settings)
        assert outcome.agrees
        assert await reports() == before
