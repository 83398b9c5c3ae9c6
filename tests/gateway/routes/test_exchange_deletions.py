"""DELETE /v1/exchanges"""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select, text

from gateway.db.database import Database
from gateway.db.tables import (
    DatasetItemRow,
    DatasetRow,
    DatasetVersionRow,
    EvalOutputItemRow,
    EvalRow,
    EvalRunRow,
    ExchangeRow,
    JudgmentRow,
    TrainingExampleRow,
)
from gateway.exchanges import deletions, erasure
from gateway.judgments import criteria, repository
from gateway.kit.clock import now
from gateway.kit.ids import new_request_id
from gateway.services import Services
from gateway.settings import ExchangeSettings, Settings
from tests.conftest import chat
from tests.gateway import logged
from tests.gateway.exchanges.records import exchange
from tests.gateway.judgments.verdicts import verdict
from tests.gateway.test_errors import error_in
from tests.polling import until

pytestmark = pytest.mark.anyio

CHAT, EXCHANGES = "/v1/chat/completions", "/v1/exchanges"
WAITERS = """SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
SECRET = "zebra"
"""Is in whatever is to be erased."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Drained when the test says so."""
    return msgspec.structs.replace(settings, exchanges=ExchangeSettings(drain_seconds=60, drain="inside"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody drains meanwhile, so that there is nothing to wait for."""
    monkeypatch.setattr("gateway.routes.new_exchanges.SPARE_SECONDS", -1000)


async def called(client: httpx.AsyncClient, **more: Any) -> str:
    asked = chat("echo", store=True, metadata={"case": SECRET}, **more)
    asked["messages"] = [{"role": "user", "content": SECRET}]
    return (await client.post(CHAT, json=asked)).headers["x-request-id"]


async def everything(database: Database) -> str:
    """Every row of every table, as text."""
    async with database.session() as session:
        tables = await session.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        rows = [
            each
            for table in tables
            for each in await session.scalars(
                text(f"SELECT convert_from(convert_to(t::text, 'UTF8'), 'UTF8') FROM {table} t")
            )
        ]
        bodies = await session.execute(select(ExchangeRow.request, ExchangeRow.reply))
        return "\n".join([*rows, *(f"{request!r} {reply!r}" for request, reply in bodies)])


async def deleted(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    answer = await client.delete(url)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestOne:
    async def test_is_gone_from_everywhere_and_still_on_the_bill(
        self, client: httpx.AsyncClient, sv: Services, database: Database, project_key: dict[str, Any]
    ) -> None:
        id, judge_id, eval_id = [await called(client) for _ in range(3)]
        await sv.drain.drain()
        said = {"completion_id": id, "comment": SECRET, "correction": SECRET, "thumbs": "down", "tags": ["rude"]}
        await client.post("/v1/feedback", json=said | {"metadata": {"page": SECRET}})
        await self.learn_from(database, project_key["project_id"], id, judge_id, eval_id)
        cost = (await logged.ledger(database))[0].cost_nano
        assert await deleted(client, f"{EXCHANGES}/{id}") == {"id": id, "object": "exchange.deleted", "deleted": True}
        assert SECRET not in await everything(database)
        shown = (await client.get(f"{EXCHANGES}/{id}")).json()
        assert (shown["request"], shown["reply"], shown["metadata"], shown["logging"]) == (None, None, None, "metadata")
        assert (shown["cost_nano"], shown["usage"]["input_tokens"]) == (cost, 12)
        judgments = (await client.get("/v1/judgments", params={"exchange": id})).json()["data"]
        scores = {(each["criterion"], each["source"]): each["score"] for each in judgments}
        assert scores == {
            ("thumbs", "human"): 0.0, ("comment", "human"): None, ("correction", "human"): None, ("helpful", "llm"): 1.0,
        }  # fmt: skip
        assert (await client.get(CHAT)).json()["data"] == []
        async with database.session() as session:
            [item] = await session.scalars(select(DatasetItemRow))
            [example] = await session.scalars(select(TrainingExampleRow))
        assert item.erased_at is not None
        assert example.deleted_at is not None

    async def learn_from(self, database: Database, project_id: str, id: str, judge_id: str, eval_id: str) -> None:
        """A judge was asked, an eval was run, an example was taken, a dataset was built."""
        moment = now()
        async with database.session() as session:
            helpful = await criteria.by_name(session, project_id, "helpful")
            asked = {"source": "llm", "annotator_id": None, "judge_exchange_id": judge_id, "rationale": SECRET}
            await repository.add(session, [verdict(helpful, exchange_id=id, **asked)])
            session.add(
                TrainingExampleRow(
                    id="ex_1", project_id=project_id, created_at=moment, updated_at=moment, created_by="", kind="sft",
                    line={"messages": SECRET}, sha256="x", tags=[], source="exchange", exchange_id=id, status="draft",
                    note=SECRET,
                )
            )  # fmt: skip
            tested: dict[str, Any] = {"project_id": project_id, "data_source_config": {}, "testing_criteria": []}
            session.add(EvalRow(id="eval_1", name="e", created_at=moment, updated_at=moment, **tested))
            await session.flush()
            session.add(
                EvalRunRow(
                    id="run_1", eval_id="eval_1", project_id=project_id, api_key_id="", name="r", data_source={},
                    status="completed", created_at=moment,
                )
            )  # fmt: skip
            await session.flush()
            session.add(
                EvalOutputItemRow(
                    id="item_1", run_id="run_1", number=0, item={"completion_id": "chatcmpl-fake", "input": SECRET},
                    cluster="c", status="pass", sample={"input": SECRET}, results=[{"sample": SECRET}], created_at=moment,
                    exchange_id=eval_id,
                )
            )  # fmt: skip
            session.add(
                DatasetRow(
                    id="ds_1", project_id=project_id, name="d", description="", created_at=moment, updated_at=moment
                )
            )
            await session.flush()
            session.add(
                DatasetVersionRow(
                    id="dsv_1", dataset_id="ds_1", project_id=project_id, number=1, recipe={}, snapshot_at=moment,
                    status="completed", created_at=moment, created_by="",
                )
            )  # fmt: skip
            await session.flush()
            session.add(
                DatasetItemRow(
                    version_id="dsv_1", number=1, split="training", kind="sft", sha256="x", cluster="c", exchange_id=id,
                    judgment_ids=[],
                )
            )  # fmt: skip

    async def test_spares_the_others(self, client: httpx.AsyncClient, sv: Services) -> None:
        gone, kept = await called(client), await called(client)
        await sv.drain.drain()
        await client.post("/v1/feedback", json={"completion_id": kept, "comment": "Stays."})
        await deleted(client, f"{EXCHANGES}/{gone}")
        shown = (await client.get(f"{EXCHANGES}/{kept}")).json()
        assert shown["request"]["messages"][0]["content"] == SECRET
        assert (await client.get("/v1/judgments")).json()["data"][0]["rationale"] == "Stays."
        assert len((await client.get(CHAT)).json()["data"]) == 1

    async def test_of_a_comparison_what_was_said_of_both_goes(self, client: httpx.AsyncClient, sv: Services) -> None:
        one, other = await called(client), await called(client)
        await sv.drain.drain()
        pair = {"exchange_id": one, "other_id": other, "criterion": "preference", "value": "a", "rationale": SECRET}
        await client.post("/v1/judgments", json={"judgments": [pair]})
        await deleted(client, f"{EXCHANGES}/{other}")
        [shown] = (await client.get("/v1/judgments")).json()["data"]
        assert (shown["rationale"], shown["preference"]) == (None, "a")

    async def test_by_the_id_of_the_reply_and_twice(self, client: httpx.AsyncClient, sv: Services) -> None:
        id = await called(client)
        await sv.drain.drain()
        for name in ("chatcmpl-fake", id):
            assert (await deleted(client, f"{EXCHANGES}/{name}"))["id"] == id

    async def test_before_it_is_in_the_log_holds(
        self, client: httpx.AsyncClient, sv: Services, database: Database
    ) -> None:
        id, other = await called(client), await called(client)
        await deleted(client, f"{EXCHANGES}/{id}")
        await sv.drain.drain()
        first, second = await logged.stored(database)
        assert (first.id, first.request, first.reply, first.request_metadata, first.logging) == (
            id,
            b"",
            None,
            None,
            "metadata",
        )
        assert SECRET.encode() in second.request
        assert [each["request_id"] for each in (await client.get(CHAT)).json()["data"]] == [other]
        assert len(await logged.ledger(database)) == 2

    async def test_one_that_never_was_or_is_long_gone_is_404(self, client: httpx.AsyncClient) -> None:
        for id in ("chatcmpl-none", "req_x", "req_" + "0" * 32, "req_" + "f" * 32, "req_" + "g" * 32):
            assert error_in(await client.delete(f"{EXCHANGES}/{id}"), 404)["code"] == "not_found"

    async def test_what_is_said_of_it_later_is_kept_without_words(
        self, client: httpx.AsyncClient, sv: Services, database: Database
    ) -> None:
        id = await called(client)
        await sv.drain.drain()
        await deleted(client, f"{EXCHANGES}/{id}")
        said = {"completion_id": id, "comment": SECRET, "correction": SECRET, "rating": 2, "metadata": {"a": SECRET}}
        judgments = (await client.post("/v1/feedback", json=said)).json()["judgments"]
        assert [each["score"] for each in judgments] == [0.25, None, None]
        assert SECRET not in await everything(database)


class TestOfAUser:
    async def test_takes_all_of_theirs_and_nothing_else(
        self, client: httpx.AsyncClient, sv: Services, database: Database
    ) -> None:
        theirs = [await called(client, user="ann"), await called(client, safety_identifier="ann", user="x")]
        other = await called(client, user="bob")
        await sv.drain.drain()
        await client.post("/v1/feedback", json={"completion_id": other, "comment": SECRET, "user": "ann"})
        await client.post("/v1/feedback", json={"completion_id": other, "comment": "Kept.", "user": "bob"})
        assert await deleted(client, f"{EXCHANGES}?user=ann") == {
            "object": "exchange.deleted", "deleted": True, "exchanges": 2,
        }  # fmt: skip
        rows = {row.id: row.request for row in await logged.stored(database)}
        assert [rows[id] for id in theirs] == [b"", b""]
        assert SECRET.encode() in rows[other]
        async with database.session() as session:
            words = set(await session.scalars(select(JudgmentRow.rationale)))
        assert words == {None, "Kept."}
        assert (await deleted(client, f"{EXCHANGES}?user=ann"))["exchanges"] == 0

    async def test_holds_for_what_is_on_its_way_and_not_for_later_calls(
        self, client: httpx.AsyncClient, sv: Services, database: Database
    ) -> None:
        before = await called(client, user="ann")
        assert (await deleted(client, f"{EXCHANGES}?user=ann"))["exchanges"] == 0
        after = await called(client, user="ann")
        await sv.drain.drain()
        rows = {row.id: row.request for row in await logged.stored(database)}
        assert (rows[before], SECRET.encode() in rows[after]) == (b"", True)

    async def test_of_many_goes_page_by_page(
        self, client: httpx.AsyncClient, sv: Services, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(erasure, "AT_A_TIME", 2)
        for _ in range(5):
            await called(client, user="ann")
        await sv.drain.drain()
        assert (await deleted(client, f"{EXCHANGES}?user=ann"))["exchanges"] == 5
        assert {row.request for row in await logged.stored(database)} == {b""}

    async def test_needs_a_name(self, client: httpx.AsyncClient) -> None:
        assert error_in(await client.delete(EXCHANGES), 400)["param"] == "user"


class TestAtTheSameTime:
    async def test_a_drain_that_has_begun_is_waited_for(
        self, client: httpx.AsyncClient, sv: Services, database: Database
    ) -> None:
        """Else each could miss the other, and the bodies would stay."""
        id = await called(client)
        async with database.raw() as drain:
            await deletions.deleted(drain, [])
            deleting = asyncio.create_task(client.delete(f"{EXCHANGES}/{id}"))

            async def waits() -> bool:
                async with database.session() as session:
                    return bool(await session.scalar(text(WAITERS)))

            await until(waits)
            assert not deleting.done()
        assert (await deleting).status_code == 200

    async def test_two_deletions_of_one_are_one(self, client: httpx.AsyncClient, sv: Services) -> None:
        id = await called(client)
        await sv.drain.drain()
        answers = await asyncio.gather(*(client.delete(f"{EXCHANGES}/{id}") for _ in range(3)))
        assert {each.status_code for each in answers} == {200}


class TestByAnAdministrator:
    async def test_is_in_the_audit_log_without_the_name(
        self, admin: httpx.AsyncClient, client: httpx.AsyncClient, sv: Services, project_key: dict[str, Any]
    ) -> None:
        id = await called(client, user="ann")
        await called(client, user="ann")
        await sv.drain.drain()
        url = f"/v1/organization/projects/{project_key['project_id']}/exchanges"
        assert (await deleted(admin, f"{url}/{id}"))["id"] == id
        assert (await deleted(admin, f"{url}?user=ann"))["exchanges"] == 1
        entries = (await admin.get("/v1/organization/audit_logs", params={"resource_ids[]": id})).json()["data"]
        assert [each["type"] for each in entries] == ["project.updated"]
        every = json.dumps((await admin.get("/v1/organization/audit_logs")).json())
        assert every.count("exchanges_deleted") == 2
        assert '"ann"' not in every

    async def test_of_a_project_that_is_not_there_is_404(self, admin: httpx.AsyncClient) -> None:
        url = "/v1/organization/projects/proj_x/exchanges"
        error_in(await admin.delete(f"{url}?user=ann"), 404)
        error_in(await admin.delete(f"{url}/{new_request_id()}"), 404)


async def test_a_call_of_another_project_with_the_same_id_is_not_taken(database: Database, sv: Services) -> None:
    """Ids are chosen here, so this is nobody's but an attacker's."""
    theirs = exchange(new_request_id(), project_id="proj_theirs", end_user="h")
    async with database.session() as session:
        await erasure.announce(session, "proj_mine", [theirs.id], "key_1")
    async with database.raw() as connection:
        assert await deletions.deleted(connection, [theirs]) == []
    later = exchange(new_request_id(), end_user="h", created_at=(now() + timedelta(seconds=5)).timestamp())
    async with database.session() as session:
        await erasure.announce(session, "proj_1", [deletions.USER + "h"], "key_1")
    async with database.raw() as connection:
        assert await deletions.deleted(connection, [later]) == []
