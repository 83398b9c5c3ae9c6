"""Calls of routes that show models examples, in-process."""

from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.changes import touch
from gateway.db.database import Database
from gateway.db.tables import ApiKeyRow, TrainingExampleRow
from gateway.protocol.routes import FewShot, Target
from gateway.services import Services
from gateway.settings import RouteSettings, Settings
from tests.conftest import chat
from tests.fakes.upstream import Upstream
from tests.gateway import logged
from tests.gateway.routes.test_training_examples import make, said
from tests.polling import until

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
HEADER = "x-tuneway-few-shot"
SYSTEM = {"role": "system", "content": "Be brief."}
QUESTION = {"role": "user", "content": "How long is shipping?"}


def route(name: str, **wanted: Any) -> RouteSettings:
    return RouteSettings(name=name, targets=(Target(model="echo"),), few_shot=FewShot(**wanted))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    routes = (route("shown"), route("tagged", tags=("best",), count=1), route("short", max_tokens=1))
    return msgspec.structs.replace(settings, routes=routes)


async def validated(client: httpx.AsyncClient, question: str, answer: str = "Three days.", **more: Any) -> str:
    made = await make(client, said(question, answer), **more)
    answer_ = await client.post(f"/v1/training_examples/{made['id']}/validate", json={"score": 0.9})
    assert answer_.status_code == 200
    return made["id"]


async def ask(client: httpx.AsyncClient, model: str = "shown", *messages: Any, **more: Any) -> httpx.Response:
    answer = await client.post(CHAT, json=chat(model, **more) | {"messages": list(messages) or [SYSTEM, QUESTION]})
    assert answer.status_code == 200, answer.text
    return answer


def sent(upstream: Upstream) -> list[Any]:
    """Messages of the last call."""
    return upstream.requests[-1]["messages"]


async def shows(sv: Services, client: httpx.AsyncClient, count: int) -> None:
    """Once a change of examples has come to the calls."""

    async def has_come() -> bool:
        await sv.mirrors.refresh()
        return (await ask(client)).headers[HEADER] == str(count)

    await until(has_come)


class TestShown:
    async def test_behind_the_system_message_the_best_one_last(
        self, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        await validated(client, "What does shipping cost?", "Nothing.")
        await validated(client, "How long is shipping to Norway?")
        await validated(client, "Zebra")
        before = {"role": "assistant", "content": "Hello."}
        answer = await ask(client, "shown", SYSTEM, before, QUESTION, temperature=0.5)
        assert answer.headers[HEADER] == "2"
        cheap, long = (
            said("What does shipping cost?", "Nothing."),
            said("How long is shipping to Norway?", "Three days."),
        )
        assert sent(upstream) == [SYSTEM, *cheap["messages"], *long["messages"], before, QUESTION]
        assert upstream.requests[-1]["temperature"] == 0.5

    async def test_also_in_a_stream(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        await validated(client, "How long is shipping to Norway?")
        assert (await ask(client, stream=True)).headers[HEADER] == "1"
        assert len(sent(upstream)) == 4

    async def test_the_log_keeps_what_the_client_sent(self, client: httpx.AsyncClient, sv: Services) -> None:
        await validated(client, "How long is shipping to Norway?")
        await ask(client)
        assert msgspec.json.decode((await logged.row(sv)).request)["messages"] == [SYSTEM, QUESTION]

    async def test_only_what_the_route_wants(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        await validated(client, "How long is shipping to Norway?")
        await validated(client, "How long is shipping to Rome?", tags=["best"])
        assert (await ask(client, "tagged")).headers[HEADER] == "1"
        assert "Rome" in sent(upstream)[1]["content"]
        assert (await ask(client, "short")).headers[HEADER] == "0"
        assert sent(upstream) == [SYSTEM, QUESTION]

    async def test_no_drafts_and_nothing_rejected(self, client: httpx.AsyncClient) -> None:
        await make(client, said("How long is shipping to Norway?"))
        rejected = await make(client, said("How long is shipping to Rome?"))
        await client.post(f"/v1/training_examples/{rejected['id']}/validate", json={"status": "rejected"})
        assert (await ask(client)).headers[HEADER] == "0"

    async def test_nothing_of_another_project(self, client: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
        await validated(client, "How long is shipping to Norway?")
        assert (await ask(stranger)).headers[HEADER] == "0"
        assert (await ask(client)).headers[HEADER] == "1"

    async def test_a_model_without_such_a_route_gets_none(self, client: httpx.AsyncClient, upstream: Upstream) -> None:
        await validated(client, "How long is shipping to Norway?")
        assert HEADER not in (await ask(client, "echo")).headers
        assert sent(upstream) == [SYSTEM, QUESTION]

    async def test_messages_that_are_none_are_for_the_upstream(
        self, client: httpx.AsyncClient, upstream: Upstream
    ) -> None:
        await validated(client, "How long is shipping to Norway?")
        odd = [7, {"role": "user", "content": 7}, {"role": "user", "content": [{"type": "text"}, 7]}]
        answer = await client.post(CHAT, json=chat("shown") | {"messages": odd})
        assert answer.headers.get(HEADER, "0") == "0"
        assert sent(upstream) == odd


class TestAskedByTuneway:
    """Judges and evals see what they were made for: examples would show a judge answers that it is to judge."""

    @pytest.mark.parametrize(("purpose", "examples"), [("", 1), ("judge", 0), ("eval", 0)])
    async def test_gets_no_examples(
        self,
        client: httpx.AsyncClient,
        sv: Services,
        project_key: dict[str, Any],
        upstream: Upstream,
        purpose: str,
        examples: int,
    ) -> None:
        await validated(client, "How long is shipping to Norway?")
        async with sv.database.session() as session:
            (await session.get_one(ApiKeyRow, project_key["id"])).purpose = purpose
            await touch(session, "api_keys")
        await sv.mirrors.catch_up()
        answer = await ask(client)
        assert answer.headers.get(HEADER) == (None if purpose else str(examples))
        assert len(sent(upstream)) == 2 + 2 * examples
        assert (await logged.row(sv)).purpose == purpose


class TestChanged:
    async def test_examples_come_and_go_with_every_change(
        self, client: httpx.AsyncClient, sv: Services, upstream: Upstream
    ) -> None:
        assert (await ask(client)).headers[HEADER] == "0"
        first = await validated(client, "How long is shipping to Norway?")
        await shows(sv, client, 1)
        await validated(client, "How long is shipping to Rome?")
        await shows(sv, client, 2)
        await client.post(f"/v1/training_examples/{first}", json={"line": said("How long is shipping to Oslo?")})
        await shows(sv, client, 1)
        assert "Rome" in sent(upstream)[1]["content"]

    async def test_what_is_erased_is_shown_no_more(
        self, client: httpx.AsyncClient, sv: Services, database: Database
    ) -> None:
        call = (await ask(client, "echo", QUESTION)).headers["x-request-id"]
        await sv.drain.drain()
        body = {"exchanges": {"ids": [call]}, "validated": True}
        assert (await client.post("/v1/training_examples/import", json=body)).json()["created"] == 1
        assert (await ask(client)).headers[HEADER] == "1"
        assert (await client.delete(f"/v1/exchanges/{call}")).status_code == 200
        async with database.session() as session:
            assert (await session.scalars(select(TrainingExampleRow.line))).all() == [{}]
        await shows(sv, client, 0)


class TestCounted:
    async def test_a_budget_reserves_for_the_longer_prompt(
        self, client: httpx.AsyncClient, admin: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        """What is enough for the question alone is not enough with ten thousand letters of examples."""
        await validated(client, "How long is shipping to Norway?", "x" * 3000)
        wanted = {"api_key_id": project_key["id"], "project_id": project_key["project_id"], "period": "day"}
        budget = await admin.post("/v1/budgets", json=wanted | {"limit_usd": 0.006})
        assert budget.status_code == 200, budget.text
        await sv.mirrors.refresh()
        limited = {"max_completion_tokens": 16}
        plain = await client.post(CHAT, json=chat("echo", **limited) | {"messages": [QUESTION]})
        assert plain.status_code == 200, plain.text
        shown = await client.post(CHAT, json=chat("shown", **limited) | {"messages": [QUESTION]})
        assert shown.status_code == 429, shown.text
        assert shown.json()["error"]["code"] == "insufficient_quota"


class TestRoutes:
    async def test_few_shot_of_a_route(self, admin: httpx.AsyncClient, app: App) -> None:
        body = {"name": "taught", "targets": [{"model": "echo"}], "few_shot": {"count": 2, "tags": ["a"]}}
        made = (await admin.post("/v1/routes", json=body)).json()
        assert made["few_shot"] == {"count": 2, "tags": ["a"], "max_tokens": 1000, "min_score": None}
        changed = await admin.post(f"/v1/routes/{made['id']}", json={"few_shot": None})
        assert changed.json()["few_shot"] is None

    @pytest.mark.parametrize(
        ("changes", "param"),
        [
            ({"count": 0}, "few_shot.count"),
            ({"max_tokens": 0}, "few_shot.max_tokens"),
            ({"min_score": 2}, "few_shot.min_score"),
            ({"tags": [""]}, "few_shot.tags"),
            ({"counts": 1}, "few_shot.counts"),
        ],
    )
    async def test_names_what_is_wrong(self, admin: httpx.AsyncClient, changes: Any, param: str) -> None:
        body = {"name": "taught", "targets": [{"model": "echo"}], "few_shot": changes}
        answer = await admin.post("/v1/routes", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
