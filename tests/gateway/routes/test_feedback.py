"""POST /v1/feedback"""

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest

from gateway.db.database import Database
from gateway.kit.ids import new_request_id
from gateway.services import Services
from gateway.settings import ExchangeSettings, FeedbackSettings, Settings
from tests.conftest import chat, client_of
from tests.gateway.routes.test_exchanges import add
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

FEEDBACK = "/v1/feedback"
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.fixture
async def logged(database: Database, project_key: dict[str, Any]) -> list[str]:
    """Two exchanges of the project."""
    own = {"project_id": project_key["project_id"]}
    return await add(database, own | {"reply_id": "chatcmpl-a"}, own | {"reply_id": "chatcmpl-b"})


async def given(client: httpx.AsyncClient, id: str = "chatcmpl-a", **said: Any) -> dict[str, Any]:
    answer = await client.post(FEEDBACK, json={"completion_id": id} | said)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def in_force(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    return (await client.get("/v1/judgments", params=query)).json()["data"]


class TestGiven:
    async def test_thumbs_with_tags(self, client: httpx.AsyncClient, logged: list[str], project_key: Any) -> None:
        answer = await given(client, thumbs="down", tags=["hallucination", "too_long", "too_long"])
        assert (answer["object"], answer["exchange_id"]) == ("feedback", logged[0])
        (one,) = answer["judgments"]
        assert (one["criterion"], one["source"], one["status"], one["kind"]) == ("thumbs", "human", "ok", "boolean")
        assert (one["value"], one["score"], one["passed"]) == (False, 0.0, False)
        assert (one["tags"], one["annotator_id"]) == (["hallucination", "too_long"], project_key["id"])
        assert await in_force(client) == [one]

    async def test_everything_in_one_call_is_one_judgment_each(
        self, client: httpx.AsyncClient, logged: list[str]
    ) -> None:
        tone = {"name": "tone", "kind": "categorical", "labels": ["kind", "rude"], "passing_labels": ["kind"]}
        await client.post("/v1/criteria", json=tone)
        answer = await given(
            client,
            thumbs="up",
            rating=4,
            criterion="tone",
            value="rude",
            values={"helpful": 5, "clear": 2.5},
            comment="Nearly.",
            correction={"content": None, "tool_calls": [CALL]},
            preference="a",
            other_id="chatcmpl-b",
            strength=3,
            tags=["x"],
            metadata={"page": "7"},
            blind=True,
        )
        shown = {each["criterion"]: each for each in answer["judgments"]}
        assert {name: each["score"] for name, each in shown.items()} == {
            "thumbs": 1.0, "rating": 0.75, "tone": 0.0, "helpful": 1.0, "clear": 0.375, "preference": 1.0,
            "correction": None, "comment": None,
        }  # fmt: skip
        assert (shown["rating"]["value"], shown["rating"]["passed"], shown["clear"]["passed"]) == (4, True, False)
        assert (shown["tone"]["label"], shown["tone"]["passed"]) == ("rude", False)
        assert shown["comment"]["rationale"] == "Nearly."
        edited = {"role": "assistant", "content": None, "tool_calls": [CALL]}
        assert shown["correction"]["edited_message"] == edited
        pair = shown["preference"]
        assert (pair["preference"], pair["strength"], pair["other_exchange_id"]) == ("a", 3, logged[1])
        assert [each["tags"] for each in answer["judgments"]] == [["x"], *[[]] * 7]
        assert all(each["metadata"] == {"page": "7"} and each["blind"] for each in answer["judgments"])
        assert all(each["other_exchange_id"] is None for name, each in shown.items() if name != "preference")

    async def test_tags_alone(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        (one,) = (await given(client, tags=["wrong_language"]))["judgments"]
        assert (one["criterion"], one["tags"], one["rationale"]) == ("comment", ["wrong_language"], None)

    async def test_on_a_scale_of_the_projects_own(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        await client.post("/v1/criteria", json={"name": "rating", "kind": "numeric", "lowest": 0, "highest": 10})
        (one,) = (await given(client, rating=9))["judgments"]
        assert (one["score"], one["passed"]) == (0.9, None)

    async def test_by_the_id_of_the_call(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        assert (await given(client, logged[1], thumbs="up"))["exchange_id"] == logged[1]

    async def test_of_a_users_is_kept_by_hash(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        for user in ("ann@example.com", "bob"):
            await given(client, thumbs="up", user=user)
        shown = await in_force(client)
        assert len({each["end_user"] for each in shown}) == 2
        assert "ann@" not in json.dumps(shown)
        assert len(await in_force(client, user="bob")) == 1

    async def test_bodies_that_are_not_kept_do_not_matter(
        self, client: httpx.AsyncClient, database: Database, project_key: Any
    ) -> None:
        bare = {"logging": "metadata", "request": b"", "reply": None, "reply_id": "chatcmpl-bare"}
        await add(database, bare | {"project_id": project_key["project_id"]})
        assert len((await given(client, "chatcmpl-bare", thumbs="up"))["judgments"]) == 1


class TestAgain:
    async def test_the_same_is_one(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        first = await given(client, thumbs="up", comment="Good.", identifier="vote-1")
        assert await given(client, thumbs="up", comment="Good.", identifier="vote-1") == first
        assert len(await in_force(client, history="true")) == 2

    async def test_a_change_of_mind_replaces(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        (first,) = (await given(client, thumbs="up"))["judgments"]
        (second,) = (await given(client, thumbs="down"))["judgments"]
        assert second["supersedes_id"] == first["id"]
        assert [each["id"] for each in await in_force(client)] == [second["id"]]
        assert len(await in_force(client, history="true")) == 2

    async def test_of_another_identifier_is_another(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        await given(client, thumbs="up", identifier="a")
        await given(client, thumbs="down", identifier="b")
        assert len(await in_force(client)) == 2

    async def test_what_was_taken_back_can_be_said_again(self, client: httpx.AsyncClient, logged: list[str]) -> None:
        (one,) = (await given(client, thumbs="up"))["judgments"]
        assert (await client.delete(f"/v1/judgments/{one['id']}")).json()["deleted"] is True
        assert await in_force(client) == []
        (again,) = (await given(client, thumbs="up"))["judgments"]
        assert [each["id"] for each in await in_force(client)] == [again["id"]]


class TestEarly:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """Drained when the test says so."""
        return msgspec.structs.replace(settings, exchanges=ExchangeSettings(drain_seconds=2, drain="inside"))

    async def test_an_answer_that_is_still_in_the_spool_is_waited_for(
        self, client: httpx.AsyncClient, sv: Services
    ) -> None:
        reply = await client.post("/v1/chat/completions", json=chat("echo"))
        for id in (reply.headers["x-request-id"], reply.json()["id"]):
            waiting = asyncio.create_task(client.post(FEEDBACK, json={"completion_id": id, "thumbs": "up"}))
            await asyncio.wait([waiting], timeout=0.05)
            await sv.drain.drain()
            assert (await waiting).json()["exchange_id"] == reply.headers["x-request-id"]

    async def test_one_that_never_was_is_404_and_says_what_to_do(
        self, client: httpx.AsyncClient, settings: Settings
    ) -> None:
        old = "req_" + "0" * 32
        error = error_in(await client.post(FEEDBACK, json={"completion_id": old, "thumbs": "up"}), 404)
        assert (error["param"], error["code"]) == ("completion_id", "not_found")
        assert "x-request-id" in error["message"]


class TestNotFound:
    async def test_another_projects(
        self, stranger: httpx.AsyncClient, client: httpx.AsyncClient, logged: list[str]
    ) -> None:
        for id in (logged[0], "chatcmpl-a", "chatcmpl-nothing", new_request_id()):
            answer = await stranger.post(FEEDBACK, json={"completion_id": id, "thumbs": "up"})
            assert error_in(answer, 404)["param"] == "completion_id"
        pair = {"completion_id": "chatcmpl-a", "preference": "a", "other_id": "chatcmpl-nothing"}
        assert error_in(await client.post(FEEDBACK, json=pair), 404)["param"] == "other_id"
        assert await in_force(client) == []


@pytest.mark.parametrize(
    ("param", "said"),
    [
        (None, {}),
        (None, {"values": {}, "tags": []}),
        ("thumbs", {"thumbs": "sideways"}),
        ("rating", {"rating": 6}),
        ("rating", {"rating": "5"}),
        ("value", {"criterion": "helpful"}),
        ("criterion", {"value": 4}),
        ("criterion", {"criterion": "unheard_of", "value": 4}),
        ("value", {"criterion": "helpful", "value": "very"}),
        ("values.clear", {"values": {"clear": 9}}),
        ("values.nothing", {"values": {"nothing": 9}}),
        ("criterion", {"criterion": "correction", "value": "x"}),
        ("values.preference", {"values": {"preference": "a"}}),
        ("tags", {"tags": ["x" * 65]}),
        ("tags", {"tags": ["x"] * 21}),
        ("comment", {"comment": " "}),
        ("correction.content", {"correction": {"content": ""}}),
        ("correction.role", {"correction": {"role": "user", "content": "x"}}),
        ("other_id", {"preference": "a"}),
        ("preference", {"other_id": "chatcmpl-b"}),
        ("preference", {"preference": "c", "other_id": "chatcmpl-b"}),
        ("strength", {"preference": "a", "other_id": "chatcmpl-b", "strength": 4}),
        ("strength", {"thumbs": "up", "strength": 1}),
        ("other_id", {"preference": "a", "other_id": "chatcmpl-a"}),
        ("other_id", {"preference": "a", "other_id": "{0}"}),
        ("choice_index", {"thumbs": "up", "choice_index": -1}),
        ("identifier", {"thumbs": "up", "identifier": "x" * 201}),
        ("metadata", {"thumbs": "up", "metadata": {"x" * 65: ""}}),
        ("stars", {"stars": 5}),
        (None, {"comment": "\x00"}),
    ],
)
async def test_what_makes_no_sense_is_refused_whole(
    client: httpx.AsyncClient, logged: list[str], param: str | None, said: dict[str, Any]
) -> None:
    if said.get("other_id") == "{0}":
        said = said | {"other_id": logged[0]}
    answer = await client.post(FEEDBACK, json={"completion_id": "chatcmpl-a"} | said)
    assert error_in(answer, 400)["param"] == param
    assert await in_force(client) == []


async def test_two_choices_of_one_completion_can_be_compared(client: httpx.AsyncClient, logged: list[str]) -> None:
    pair: dict[str, Any] = {"preference": "b", "other_id": "chatcmpl-a", "other_choice_index": 1}
    (one,) = (await given(client, **pair))["judgments"]
    assert (one["exchange_id"], one["other_exchange_id"], one["other_choice_index"]) == (logged[0], logged[0], 1)
    assert one["score"] == 0.0


class TestFromAPage:
    """The Fetch standard's CORS, as a browser does it."""

    PAGE = "https://app.example.com"
    ASKED = "authorization,content-type,x-stainless-arch,x-stainless-lang,x-stainless-retry-count"

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return msgspec.structs.replace(settings, feedback=FeedbackSettings(origins=(self.PAGE,)))

    @pytest.fixture
    async def page_key(self, admin: httpx.AsyncClient, project_key: dict[str, Any]) -> str:
        """That can do nothing but give feedback."""
        url = f"/v1/organization/projects/{project_key['project_id']}/api_keys"
        made = await admin.post(url, json={"name": "page", "scopes": ["api.feedback.write"]})
        return made.json()["value"]

    def question(self, **more: str) -> dict[str, str]:
        return {
            "origin": self.PAGE,
            "access-control-request-method": "POST",
            "access-control-request-headers": self.ASKED,
        } | more

    async def test_a_browser_that_asks_may_send_the_sdks_headers(self, app: Any) -> None:
        async with client_of(app, None) as nobody:
            answer = await nobody.options(FEEDBACK, headers=self.question())
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == self.PAGE
        assert answer.headers["access-control-allow-headers"] == self.ASKED
        assert answer.headers["access-control-allow-methods"] == "POST"
        assert answer.headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in answer.headers

    async def test_only_a_page_that_is_named_and_only_this_url(self, app: Any) -> None:
        async with client_of(app, None) as nobody:
            for url, origin in (
                (FEEDBACK, "https://evil.example.com"),
                ("/v1/judgments", self.PAGE),
                (FEEDBACK, "null"),
            ):
                answer = await nobody.options(url, headers=self.question(origin=origin))
                assert "access-control-allow-origin" not in answer.headers, (url, origin)

    async def test_a_header_that_is_none_is_not_repeated(self, app: Any) -> None:
        async with client_of(app, None) as nobody:
            asked = self.question(**{"access-control-request-headers": "a b; c"})
            answer = await nobody.options(FEEDBACK, headers=asked)
        assert answer.headers["access-control-allow-headers"] == "authorization, content-type"

    async def test_a_key_of_a_page_gives_feedback_and_reads_nothing(
        self, app: Any, client: httpx.AsyncClient, logged: list[str], page_key: str
    ) -> None:
        async with client_of(app, page_key) as page:
            headers = {"origin": self.PAGE}
            body = {"completion_id": "chatcmpl-a", "thumbs": "up"}
            answer = await page.post(FEEDBACK, json=body, headers=headers)
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, self.PAGE)
            [id] = [each["id"] for each in answer.json()["judgments"]]
            for path in (
                "/v1/judgments",
                f"/v1/judgments/{id}",
                "/v1/judgments/summary",
                "/v1/exchanges",
                "/v1/models",
            ):
                error_in(await page.get(path), 403)
            error_in(await page.post("/v1/chat/completions", json=chat("echo")), 403)
            error_in(await page.delete(f"/v1/judgments/{id}"), 403)
        assert len(await in_force(client)) == 1

    async def test_a_page_can_read_a_refusal(self, app: Any, page_key: str) -> None:
        async with client_of(app, page_key) as page:
            answer = await page.post(FEEDBACK, json={}, headers={"origin": self.PAGE})
        error_in(answer, 400)
        assert answer.headers["access-control-allow-origin"] == self.PAGE


async def test_without_origins_no_page_may(app: Any) -> None:
    async with client_of(app, None) as nobody:
        headers = {"origin": "https://x", "access-control-request-method": "POST"}
        answer = await nobody.options(FEEDBACK, headers=headers)
    assert "access-control-allow-origin" not in answer.headers
