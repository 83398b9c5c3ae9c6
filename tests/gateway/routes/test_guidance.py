"""/v1/guidance: from calls and feedback to clusters, suggestions and a model's opinion."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select, update
from sqlalchemy import text as sql
from sqlalchemy.exc import DBAPIError

from gateway.db.database import Database
from gateway.db.tables import GuidanceReportRow
from gateway.exchanges import erasure
from gateway.guidance import repository
from gateway.kit.clock import now
from gateway.protocol.guidance import GuidanceFilters, Report
from gateway.services import Services, WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks.guide_projects import guide_project
from gateway.tasks.read_exchanges import read_exchanges
from tests.conftest import chat, client_of, create_key
from tests.fakes.guidance import compute
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
URL, SUMMARY = "/v1/guidance", "/v1/guidance/summary"


@pytest.fixture
async def wv(settings: Settings) -> AsyncIterator[WorkerServices]:
    async with worker_services(settings) as wv:
        yield wv


@pytest.fixture
def project(project_key: dict[str, Any]) -> str:
    return project_key["project_id"]


async def asked(client: Client, text: str, **more: Any) -> str:
    """The id of the exchange."""
    messages = [{"role": "user", "content": text}]
    answer = await client.post("/v1/chat/completions", json={"model": "echo", "messages": messages, **more})
    return answer.headers["x-request-id"]


async def disliked(client: Client, sv: Services, count: int = 3, liked: int = 2, **more: Any) -> list[str]:
    """Exchanges that people did not like, newest last; others were liked."""
    ids = [await asked(client, f"How do I return order {4711 + n}?", **more) for n in range(count)]
    good = [await asked(client, f"A question of its own: {'x' * n}") for n in range(liked)]
    await sv.drain.drain()
    for each, thumbs in [*((id, "down") for id in ids), *((id, "up") for id in good)]:
        said = {"completion_id": each, "thumbs": thumbs, "tags": ["too long"] if thumbs == "down" else []}
        answer = await client.post("/v1/feedback", json=said)
        assert answer.status_code == 200, answer.text
    return ids


async def guidance(client: Client, **query: Any) -> dict[str, Any]:
    answer = await client.get(URL, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def computed(client: Client, wv: WorkerServices, project_id: str, **query: Any) -> dict[str, Any]:
    """Once a worker has done it."""
    await guidance(client, **query)
    await read_exchanges(wv)
    await compute(wv, project_id, **query)
    return await guidance(client, **query)


class TestGuidance:
    async def test_first_it_is_computed_then_it_is_there(
        self, client: Client, sv: Services, wv: WorkerServices, project: str
    ) -> None:
        ids = await disliked(client, sv)
        first = await guidance(client)
        assert (first["status"], first["as_of"], first["data"]) == ("computing", None, [])
        found = await computed(client, wv, project)
        assert (found["status"], found["refreshing"]) == ("ready", False)
        assert found["as_of"] <= now().timestamp()
        tag, thumbs = found["data"]
        assert (thumbs["title"], tag["title"]) == ("People: thumbs not met", "People say: too long")
        failing = thumbs["failing"]
        assert (failing["n"], failing["of"]) == (3, 5)
        assert [each["exchange_id"] for each in thumbs["examples"]] == ids[::-1]
        assert thumbs["examples"][0]["question"] == "How do I return order 4713?"
        assert [each["n"] for each in thumbs["topics"]] == [3]
        assert thumbs["models"][0]["value"] == "echo"
        assert found["missing"] == ["rules", "judges", "evals"]

    async def test_of_a_model_a_route_and_a_time(
        self, client: Client, admin: Client, sv: Services, wv: WorkerServices, project: str
    ) -> None:
        await admin.post("/v1/routes", json={"name": "shop", "project_id": project, "targets": [{"model": "echo"}]})
        await sv.mirrors.refresh()
        await disliked(client, sv, model="shop")
        await disliked(client, sv, count=2)
        whole = await computed(client, wv, project)
        assert whole["data"][0]["failing"]["n"] == 5
        of_route = await computed(client, wv, project, route="shop")
        assert [each["failing"]["n"] for each in of_route["data"]] == [3, 3]
        assert of_route["data"][0]["routes"][0]["value"] == "shop@1"
        assert (await computed(client, wv, project, model="unicode"))["data"] == []
        late = int(now().timestamp()) + 100
        assert (await computed(client, wv, project, created_after=late))["data"] == []
        assert (await computed(client, wv, project, created_before=late))["data"][0]["failing"]["n"] == 5

    async def test_calls_that_failed_or_fell_back(
        self, client: Client, admin: Client, sv: Services, wv: WorkerServices, project: str
    ) -> None:
        for _ in range(2):
            await asked(client, "x", model="status-500")
        body = {"name": "safe", "project_id": project, "targets": [{"model": "status-503"}]}
        body |= {"fallbacks": [{"model": "echo"}], "retries": {"count": 0}}
        assert (await admin.post("/v1/routes", json=body)).status_code == 200
        await sv.mirrors.refresh()
        for _ in range(2):
            await asked(client, "x", model="safe")
        await sv.drain.drain()
        found = (await computed(client, wv, project))["data"]
        assert [(each["kind"], each["failing"]["n"], each["failing"]["of"]) for each in found] == [
            ("call", 2, 4),
            ("fallback", 2, 4),
        ]
        assert found[1]["subject"] == {"code": "server_error", "model": "status-503"}
        assert [each["kind"] for each in found[0]["suggestions"]] == ["provider"]

    async def test_metadata_where_failures_concentrate(
        self, client: Client, sv: Services, wv: WorkerServices, project: str
    ) -> None:
        await disliked(client, sv, count=8, liked=0, metadata={"team": "legal"})
        await disliked(client, sv, count=0, liked=12)
        [found] = (await computed(client, wv, project))["data"][0]["concentrations"]
        assert (found["key"], found["value"]) == ("team", "legal")
        assert (found["failing"]["value"], found["elsewhere"]["value"]) == (1.0, 0.0)

    async def test_answers_that_were_cut_off(
        self, client: Client, database: Database, sv: Services, wv: WorkerServices, project: str
    ) -> None:
        for _ in range(4):
            await asked(client, "x", max_tokens=7)
        rows = await logged.rows(sv)
        async with database.session() as session:
            for row in rows[:3]:
                reply = (row.reply or b"").replace(b'"stop"', b'"length"')
                assert b'"length"' in reply
                row.reply = reply
                await session.merge(row)
        [found] = (await computed(client, wv, project))["data"]
        assert (found["kind"], found["failing"]["n"], found["failing"]["of"]) == ("cut_off", 3, 4)
        assert "7 tokens" in found["suggestions"][0]["why"]

    async def test_a_stranger_sees_nothing_of_it(
        self, client: Client, stranger: Client, sv: Services, wv: WorkerServices, project: str
    ) -> None:
        await disliked(client, sv)
        assert (await computed(client, wv, project))["data"]
        theirs = (await stranger.get(URL)).json()
        assert (theirs["status"], theirs["data"]) == ("computing", [])

    async def test_an_old_report_is_shown_and_another_is_asked_for(
        self, client: Client, sv: Services, wv: WorkerServices, database: Database, project: str
    ) -> None:
        await disliked(client, sv)
        await computed(client, wv, project)
        await disliked(client, sv)
        async with database.session() as session:
            await session.execute(update(GuidanceReportRow).values(computed_at=now() - timedelta(minutes=2)))
        old = await guidance(client)
        assert (old["refreshing"], old["data"][0]["failing"]["n"]) == (True, 3)
        found = await computed(client, wv, project)
        assert (found["refreshing"], found["data"][0]["failing"]["n"]) == (False, 6)

    async def test_one_that_had_nothing_to_look_at_is_old_at_once(
        self, client: Client, wv: WorkerServices, database: Database, project: str
    ) -> None:
        assert (await computed(client, wv, project))["refreshing"] is False
        async with database.session() as session:
            await session.execute(update(GuidanceReportRow).values(computed_at=now() - timedelta(seconds=3)))
        assert (await guidance(client))["refreshing"] is True

    async def test_a_filter_that_is_wrong_is_named(self, client: Client) -> None:
        assert error_in(await client.get(URL, params={"created_after": "soon"}), 400)["param"] == "created_after"

    async def test_needs_its_scope(self, app: Any, admin: Client, project: str) -> None:
        url = f"/v1/organization/projects/{project}/api_keys"
        made = (await admin.post(url, json={"name": "k", "scopes": ["api.judgments.read"]})).json()
        await app.services.mirrors.refresh()
        async with client_of(app, made["value"]) as other:
            assert "api.guidance.read" in error_in(await other.get(URL), 403)["message"]

    async def test_too_many_filters_at_a_time_are_put_off(self, client: Client) -> None:
        for n in range(repository.MOST_WAITING):
            await guidance(client, model=f"m{n}")
        error_in(await client.get(URL, params={"model": "one more"}), 503)
        await guidance(client, model="m1")

    async def test_what_waits_and_is_not_asked_for_again_does_not_count(
        self, client: Client, database: Database
    ) -> None:
        """As after an erasure, which empties the reports of all filters that were looked at within a day."""
        for n in range(repository.MOST_WAITING):
            await guidance(client, model=f"m{n}")
        async with database.session() as session:
            await session.execute(update(GuidanceReportRow).values(asked_at=now() - timedelta(minutes=3)))
        for n in range(repository.MOST_WAITING):  # but for those that are asked for again
            await guidance(client, model=f"new{n}" if n else "m0")
        error_in(await client.get(URL, params={"model": "one more"}), 503)


async def begun(database: Database, project_id: str) -> bool:
    """A report, where nobody has to be waited for."""
    async with database.session() as session:
        await session.execute(sql("SET LOCAL lock_timeout = '50ms'"))
        _, is_due = await repository.ask(session, project_id, GuidanceFilters())
    return is_due


class TestErasure:
    async def test_what_was_erased_is_shown_no_more(
        self, client: Client, sv: Services, wv: WorkerServices, project: str
    ) -> None:
        ids = await disliked(client, sv, metadata={"team": "zebra"})
        await computed(client, wv, project)
        await client.delete(f"/v1/exchanges/{ids[0]}")
        assert (await guidance(client))["status"] == "computing"
        found = await computed(client, wv, project)
        examples = {each["exchange_id"]: each for each in found["data"][0]["examples"]}
        assert examples[ids[0]]["question"] is None
        assert examples[ids[1]]["question"] is not None

    async def test_what_was_read_before_is_not_stored_after(
        self, client: Client, sv: Services, database: Database, project: str
    ) -> None:
        ids = await disliked(client, sv)
        await guidance(client)
        key = repository.key_of(GuidanceFilters())
        async with database.session() as session:
            row = await session.get_one(GuidanceReportRow, (project, key))
            generation = row.generation
        await client.delete(f"/v1/exchanges/{ids[0]}")
        empty = msgspec.convert(
            {
                "looked_at": {
                    "judgments": 0, "calls": 0, "replies": 0, "eval_items": 0, "since": None, "complete": True,
                },
                "clusters": [],
                "missing": [],
            },
            Report,
        )  # fmt: skip
        async with database.session() as session:
            assert not await repository.store(session, project, key, generation, empty)
            assert await repository.store(session, project, key, generation + 1, empty)

    async def test_no_report_is_begun_while_exchanges_are_erased(self, database: Database, project: str) -> None:
        """Its worker would read what is about to go, and the erasure would not find its row."""
        async with database.session() as erasing:
            await erasure.erase(erasing, project, ["req_gone"], "somebody")
            with pytest.raises(DBAPIError, match="lock timeout"):
                await begun(database, project)
        assert await begun(database, project)


class TestOldReports:
    async def test_go_when_nobody_asks_for_them(
        self, client: Client, sv: Services, wv: WorkerServices, database: Database, project: str
    ) -> None:
        await guidance(client, model="old")
        async with database.session() as session:
            await session.execute(update(GuidanceReportRow).values(asked_at=now() - timedelta(days=2)))
        await computed(client, wv, project)
        async with database.session() as session:
            kept = list(await session.scalars(select(GuidanceReportRow.filters_key)))
        assert kept == [repository.key_of(GuidanceFilters())]

    async def test_what_nobody_asked_for_is_not_computed(self, wv: WorkerServices, project: str) -> None:
        await guide_project(wv, project, "gone")


class TestProcess:
    async def test_a_worker_has_it_done_in_a_process_of_its_own(
        self, client: Client, sv: Services, wv: WorkerServices, project: str
    ) -> None:
        await disliked(client, sv)
        await guidance(client)
        await guide_project(wv, project, repository.key_of(GuidanceFilters()))
        assert (await guidance(client))["data"][0]["failing"]["n"] == 3


class TestSummary:
    async def test_a_models_opinion_is_the_callers_own_call(
        self, client: Client, sv: Services, wv: WorkerServices, project: str, project_key: dict[str, Any]
    ) -> None:
        await disliked(client, sv)
        found = await computed(client, wv, project)
        answer = await client.post(SUMMARY, json={"model": "assistant"})
        assert answer.status_code == 200, answer.text
        said = answer.json()
        assert [each["cluster_id"] for each in said["causes"]] == [found["data"][0]["id"]]
        assert said["as_of"] == found["as_of"]
        row = next(each for each in await logged.rows(sv) if each.id == said["exchange_id"])
        assert (row.purpose, row.api_key_id, row.logging) == ("guidance", project_key["id"], "metadata")
        assert row.request == b""
        assert row.cost_nano

    async def test_examples_are_data(
        self, client: Client, sv: Services, wv: WorkerServices, project: str, upstream: Upstream
    ) -> None:
        await disliked(client, sv)
        await computed(client, wv, project)
        await client.post(SUMMARY, json={"model": "assistant"})
        system, user = upstream.requests[-1]["messages"]
        assert "return order" not in system["content"]
        key = system["content"].partition("the text ")[2].split()[0]
        assert user["content"].startswith(f"Material {key}\n[{{")
        assert upstream.requests[-1]["max_tokens"] == 1500

    @pytest.mark.parametrize("model", ["echo", "no-schema"])
    async def test_an_answer_that_is_none_is_refused(
        self, client: Client, sv: Services, wv: WorkerServices, project: str, model: str
    ) -> None:
        await disliked(client, sv)
        await computed(client, wv, project)
        error = error_in(await client.post(SUMMARY, json={"model": model}), 502)
        assert error["code"] == "bad_answer"
        assert "cannot be used" in error["message"]

    async def test_not_before_there_is_something_to_ask_about(
        self, client: Client, wv: WorkerServices, project: str
    ) -> None:
        error_in(await client.post(SUMMARY, json={"model": "assistant"}), 409)
        await computed(client, wv, project)
        assert "Nothing fails" in error_in(await client.post(SUMMARY, json={"model": "assistant"}), 409)["message"]

    async def test_a_model_that_the_key_may_not_call(
        self, app: Any, client: Client, admin: Client, sv: Services, wv: WorkerServices, project: str
    ) -> None:
        await disliked(client, sv)
        await computed(client, wv, project)
        other = await create_key(admin, "third")
        async with client_of(app, other["value"]) as stranger:
            error_in(await stranger.post(SUMMARY, json={"model": "assistant"}), 409)
        error_in(await client.post(SUMMARY, json={"model": "nowhere"}), 404)
        assert error_in(await client.post(SUMMARY, json=chat("x")), 400)["param"] == "messages"
