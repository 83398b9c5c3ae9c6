"""A person who acts for a project."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.tables import ApiKeyRow, ExchangeRow
from gateway.services import Services
from tests.conftest import chat, create_key
from tests.gateway.people import add, browser, join, sign_in
from tests.gateway.test_errors import error_in
from tests.judges.examples import CHECK, SCORE
from tests.polling import until

pytestmark = pytest.mark.anyio

MEMBER = "member@example.com"
CHAT = "/v1/chat/completions"
CRITERION = {"name": "polite", "kind": "boolean", "description": "Is it polite?"}


@pytest.fixture
async def project_id(project_key: dict[str, Any]) -> str:
    return project_key["project_id"]


@pytest.fixture
async def member(app: App, admin: httpx.AsyncClient, project_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """The browser of somebody who belongs to the project."""
    person = await add(admin, MEMBER, "reader")
    await join(admin, project_id, person["id"], "member")
    async with browser(app) as client:
        await sign_in(client, MEMBER)
        client.headers["openai-project"] = project_id
        yield client


async def keys_in(sv: Services, project_id: str) -> list[ApiKeyRow]:
    async with sv.database.session() as session:
        rows = select(ApiKeyRow).where(ApiKeyRow.project_id == project_id, ApiKeyRow.user_id.is_not(None))
        return list(await session.scalars(rows))


class TestActing:
    async def test_a_member_may_do_what_a_key_may(
        self, member: httpx.AsyncClient, client: httpx.AsyncClient, sv: Services, project_id: str
    ) -> None:
        made = await member.post("/v1/criteria", json=CRITERION)
        assert made.status_code == 200, made.text
        assert (await member.get(f"/v1/criteria/{made.json()['id']}")).json() == made.json()
        assert (await client.get(f"/v1/criteria/{made.json()['id']}")).json() == made.json()
        [key] = await keys_in(sv, project_id)
        assert key.name == "Console"

    async def test_calls_models_and_pays_as_a_key_of_their_own(
        self, member: httpx.AsyncClient, sv: Services, project_id: str
    ) -> None:
        answer = await member.post(CHAT, json=chat("echo"))
        assert answer.status_code == 200, answer.text
        [key] = await keys_in(sv, project_id)

        async def logged() -> list[ExchangeRow]:
            async with sv.database.session() as session:
                return list(await session.scalars(select(ExchangeRow)))

        await until(logged)
        [row] = await logged()
        assert (row.api_key_id, row.project_id, row.purpose) == (key.id, project_id, "")

    async def test_runs_graders(self, member: httpx.AsyncClient) -> None:
        """Also those that ask a model: with the key of their own."""
        for grader in (CHECK, SCORE | {"model": "echo", "input": [{"role": "user", "content": "Score: 0.7"}]}):
            body = {"grader": grader, "model_sample": "x", "item": {}}
            answer = await member.post("/v1/fine_tuning/alpha/graders/run", json=body)
            assert answer.status_code == 200, answer.text

    async def test_streams(self, member: httpx.AsyncClient) -> None:
        answer = await member.post(CHAT, json=chat("echo", stream=True))
        assert answer.text.endswith("data: [DONE]\n\n")

    async def test_needs_the_token_against_forgery(self, member: httpx.AsyncClient) -> None:
        del member.headers["x-csrf-token"]
        for url, body in (("/v1/criteria", CRITERION), (CHAT, chat("echo"))):
            answer = await member.post(url, json=body)
            assert error_in(answer, 403)["code"] == "csrf"

    async def test_a_page_of_another_site_gets_nothing(self, member: httpx.AsyncClient) -> None:
        answer = await member.post(CHAT, json=chat("echo"), headers={"origin": "https://evil.example"})
        assert error_in(answer, 403)["code"] == "csrf"

    async def test_must_name_a_project(self, member: httpx.AsyncClient) -> None:
        del member.headers["openai-project"]
        answer = await member.get("/v1/criteria")
        assert error_in(answer, 400)["param"] == "OpenAI-Project"

    @pytest.mark.parametrize("url", ["/v1/criteria", CHAT])
    async def test_whose_session_is_over_is_refused(self, app: App, url: str) -> None:
        async with browser(app) as client:
            client.cookies.set("tuneway_session", "made up")
            answer = await client.post(url, json={}, headers={"openai-project": "proj_1"})
        assert error_in(answer, 401)["code"] == "session_ended"

    async def test_an_unknown_project_is_not_found(self, member: httpx.AsyncClient) -> None:
        answer = await member.get("/v1/criteria", headers={"openai-project": "proj_unknown"})
        assert answer.status_code == 404

    async def test_an_archived_project_is_refused(
        self, member: httpx.AsyncClient, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        await admin.post(f"/v1/organization/projects/{project_id}/archive")
        answer = await member.get("/v1/criteria")
        assert "archived" in error_in(answer, 400)["message"]

    async def test_a_reader_of_the_organisation_reads(
        self, app: App, admin: httpx.AsyncClient, sv: Services, project_id: str
    ) -> None:
        await add(admin, "reader@example.com", "reader")
        async with browser(app, **{"openai-project": project_id}) as client:
            await sign_in(client, "reader@example.com")
            assert (await client.get("/v1/criteria")).status_code == 200
            for url, body in (("/v1/criteria", CRITERION), (CHAT, chat("echo"))):
                answer = await client.post(url, json=body)
                assert "Missing scopes" in error_in(answer, 403)["message"]
        assert await keys_in(sv, project_id) == []

    async def test_who_leaves_the_project_only_reads(
        self, member: httpx.AsyncClient, admin: httpx.AsyncClient, sv: Services, project_id: str
    ) -> None:
        await member.post(CHAT, json=chat("echo"))
        [key] = await keys_in(sv, project_id)
        left = await admin.delete(f"/v1/organization/projects/{project_id}/users/{key.user_id}")
        assert left.status_code == 200
        assert (await member.post(CHAT, json=chat("echo"))).status_code in (401, 403)

    async def test_a_revoked_key_is_replaced(
        self, member: httpx.AsyncClient, admin: httpx.AsyncClient, sv: Services, project_id: str
    ) -> None:
        await member.get("/v1/criteria")
        [key] = await keys_in(sv, project_id)
        await admin.delete(f"/v1/organization/projects/{project_id}/api_keys/{key.id}")
        assert (await member.post(CHAT, json=chat("echo"))).status_code == 200
        keys = await keys_in(sv, project_id)
        assert [each.revoked_at is None for each in sorted(keys, key=lambda each: each.created_at)] == [False, True]

    async def test_a_key_goes_before_a_session(
        self, member: httpx.AsyncClient, admin: httpx.AsyncClient, project_id: str
    ) -> None:
        other = await create_key(admin, "second")
        made = await member.post("/v1/criteria", json=CRITERION)
        answer = await member.get(
            f"/v1/criteria/{made.json()['id']}", headers={"authorization": f"Bearer {other['value']}"}
        )
        assert answer.status_code == 404
