"""Calls of routes that hold answers against rules, in-process, with the real processes that apply them."""

import re
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import select

from gateway.app import App
from gateway.db.tables import CriterionRow, JudgeRow, JudgeVersionRow, JudgmentRow
from gateway.exchanges.checked import CheckSaid
from gateway.protocol.routes import Check, Target
from gateway.services import Services
from gateway.settings import RouteSettings, RoutingSettings, Settings
from tests.conftest import chat
from tests.contract import conforms
from tests.fakes.upstream import WORDS
from tests.gateway import logged
from tests.gateway.test_inference import COST_NANO, chunks, ending, events
from tests.gateway.test_key_rights import key_with

pytestmark = pytest.mark.anyio

CHAT = "/v1/chat/completions"
NO_DIGITS = ({"type": "regex", "pattern": r"\d|three", "must": "not_match"},)
"""The fake upstream streams `one two three four`, whatever it is asked."""
NO_FIVE = ({"type": "regex", "pattern": "five", "must": "not_match"},)
FORM = ({"type": "json_schema"},)


def route(name: str, *checks: Check) -> RouteSettings:
    return RouteSettings(name=name, targets=(Target(model="echo"),), checks=checks)


ROUTES = (
    route("flagging", Check(name="digits", rules=NO_DIGITS, timeout_ms=10_000)),
    route("blocking", Check(name="digits", rules=NO_DIGITS, mode="block", timeout_ms=10_000)),
    route("unsure", Check(name="form", rules=FORM, mode="block", timeout_ms=10_000)),
    route("holding", Check(name="five", rules=NO_FIVE, mode="block", timeout_ms=10_000)),
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, routes=ROUTES, routing=RoutingSettings(check_processes=1))


def asked(model: str, text: str, **more: Any) -> dict[str, Any]:
    return chat(model) | {"messages": [{"role": "user", "content": text}]} | more


async def judgments(sv: Services) -> list[JudgmentRow]:
    await sv.drain.drain()
    async with sv.database.session() as session:
        return list(await session.scalars(select(JudgmentRow).order_by(JudgmentRow.id)))


async def counted(client: httpx.AsyncClient) -> dict[tuple[str, str], int]:
    """Mode and outcome -> checks, as GET /metrics tells."""
    found = re.findall(r'tuneway_checks_total{mode="(\w+)",outcome="(\w+)"} (\d+)', (await client.get("/metrics")).text)
    return {(mode, outcome): int(count) for mode, outcome, count in found}


class TestCounted:
    async def test_every_outcome_is_0_from_the_beginning(self, client: httpx.AsyncClient) -> None:
        errors = [(mode, code) for mode in ("flag", "block") for code in ("timeout", "rule", "unreadable", "fault")]
        known = [("flag", "passed"), ("flag", "flagged"), ("block", "passed"), ("block", "blocked"), *errors]
        assert await counted(client) == dict.fromkeys(known, 0)

    async def test_by_mode_and_outcome_whole_and_streamed(self, client: httpx.AsyncClient) -> None:
        for model, text in (
            ("flagging", "no"),
            ("flagging", "42"),
            ("blocking", "no"),
            ("blocking", "42"),
            ("unsure", "42"),
        ):
            await client.post(CHAT, json=asked(model, text))
        await client.post(CHAT, json=asked("blocking", "", stream=True))
        await client.post(CHAT, json=asked("echo", "42"))
        assert {each: count for each, count in (await counted(client)).items() if count} == {
            ("flag", "passed"): 1, ("flag", "flagged"): 1, ("block", "passed"): 1, ("block", "blocked"): 2,
            ("block", "rule"): 1,
        }  # fmt: skip

    async def test_what_could_not_be_told_by_why(self, client: httpx.AsyncClient, sv: Services) -> None:
        for code in ("timeout", "unreadable", "fault", None):
            sv.metrics.observe_checks([CheckSaid(check="c", mode="block", route="r@1", rules=[], error_code=code)])
        found = await counted(client)
        assert [found["block", code] for code in ("timeout", "unreadable", "fault")] == [1, 1, 2]


class TestWhole:
    async def test_what_passes_leaves_as_it_came_and_is_judged(
        self, client: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        answer = await client.post(CHAT, json=asked("flagging", "no digits"))
        row = await logged.row(sv)
        assert answer.content == row.reply
        assert "x-tuneway-flags" not in answer.headers
        [judged] = await judgments(sv)
        assert (judged.exchange_id, judged.project_id) == (row.id, project_key["project_id"])
        assert (judged.source, judged.status, judged.passed, judged.score) == ("rule", "ok", True, 1.0)
        assert judged.sampling == {"probability": 1.0, "policy": "inline"}

    async def test_a_flag_is_a_header_and_a_judgment(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=asked("flagging", "42"))
        assert answer.headers["x-tuneway-flags"] == "digits"
        assert answer.json()["choices"][0]["message"]["content"] == "42"
        assert ending(await logged.row(sv)) == ("completed", 200, False)
        [judged] = await judgments(sv)
        assert (judged.passed, judged.score, judged.tags) == (False, 0.0, ["regex"])
        assert judged.rationale == "regex: The answer matches the pattern."
        notes = judged.judgment_metadata or {}
        assert notes["inline"] == {"check": "digits", "mode": "flag", "route": "flagging@0"}
        assert [each["rule"] for each in notes["rules"]] == ["regex"]

    async def test_a_blocked_answer_is_withheld_charged_and_logged(
        self, client: httpx.AsyncClient, sv: Services
    ) -> None:
        answer = await client.post(CHAT, json=asked("blocking", "42", store=True))
        conforms("CreateChatCompletionResponse", answer.json())
        [choice] = answer.json()["choices"]
        assert (answer.status_code, choice["finish_reason"]) == (200, "content_filter")
        assert choice["message"]["content"] == ""
        assert "`digits` of the route `blocking@0`" in choice["message"]["refusal"]
        assert b"42" not in answer.content
        assert answer.headers["x-tuneway-flags"] == "digits"
        row = await logged.row(sv)
        assert ending(row) == ("refused", 200, True)
        assert (row.error or {})["code"] == "content_filter"
        assert b'"42"' in (row.reply or b"")
        assert row.cost_nano == COST_NANO
        listed = await client.get(CHAT)
        assert listed.json()["data"] == []
        assert [each.passed for each in await judgments(sv)] == [False]

    async def test_what_cannot_be_told_leaves_flagged(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=asked("unsure", "42"))
        assert answer.headers["x-tuneway-flags"] == "form=error"
        assert answer.json()["choices"][0]["message"]["content"] == "42"
        [judged] = await judgments(sv)
        assert (judged.status, judged.error_code, judged.score, judged.passed) == ("error", "rule", None, None)

    async def test_text_completions_too(self, client: httpx.AsyncClient) -> None:
        answer = await client.post("/v1/completions", json={"model": "blocking", "prompt": "42"})
        [choice] = answer.json()["choices"]
        assert (choice["text"], choice["finish_reason"]) == ("", "content_filter")


class TestStreams:
    async def test_a_flag_comes_behind_the_pieces(self, client: httpx.AsyncClient, sv: Services) -> None:
        answer = await client.post(CHAT, json=chat("flagging", stream=True))
        said = "".join(each["choices"][0]["delta"].get("content") or "" for each in chunks(answer))
        assert said == "".join(WORDS)
        assert [(each.passed, each.tags) for each in await judgments(sv)] == [(False, ["regex"])]

    async def test_a_blocked_one_says_so_in_its_own_form(self, client: httpx.AsyncClient, sv: Services) -> None:
        options = {"include_usage": True}
        answer = await client.post(CHAT, json=chat("blocking", stream=True, stream_options=options))
        first, last, usage = chunks(answer)
        assert "three" not in answer.text
        assert "`digits`" in first["choices"][0]["delta"]["refusal"]
        assert last["choices"][0]["finish_reason"] == "content_filter"
        assert usage["usage"]["completion_tokens"] == 4
        row = await logged.row(sv)
        assert ending(row) == ("refused", 200, True)
        assert row.cost_nano == COST_NANO
        assert [each.passed for each in await judgments(sv)] == [False]

    async def test_one_that_passes_is_the_same_as_without_checks(self, client: httpx.AsyncClient, sv: Services) -> None:
        plain = await client.post(CHAT, json=chat("echo", stream=True))
        held = await client.post(CHAT, json=chat("holding", stream=True))
        assert events(held) == events(plain)
        assert [each.passed for each in await judgments(sv)] == [True]


class TestJudges:
    async def test_one_a_check_and_a_version_for_each_set_of_rules(
        self, client: httpx.AsyncClient, stranger: httpx.AsyncClient, sv: Services
    ) -> None:
        for who in (client, client, stranger):
            await who.post(CHAT, json=asked("flagging", "x"))
        await client.post(CHAT, json=asked("blocking", "x"))
        rows = await judgments(sv)
        async with sv.database.session() as session:
            judges = list(await session.scalars(select(JudgeRow)))
            versions = list(await session.scalars(select(JudgeVersionRow)))
            criteria = list(await session.scalars(select(CriterionRow)))
        assert len(rows) == 4
        assert [judge.name for judge in judges] == ["inline.digits"] * 2
        assert len({judge.project_id for judge in judges}) == 2
        assert {version.judge_id for version in versions} == {judge.id for judge in judges}
        assert (len(versions), {each.name for each in criteria}) == (2, {"rules.inline.digits"})
        shown = (await client.get("/v1/judges/inline.digits")).json()
        assert shown["version"]["spec"]["rules"] == list(NO_DIGITS)


class TestPrivacy:
    async def test_a_key_that_keeps_no_words_keeps_none_of_a_verdict(
        self, app: App, admin: httpx.AsyncClient, project_key: dict[str, Any], sv: Services
    ) -> None:
        for policy in ("metadata", "off"):
            async with key_with(app, admin, project_key["project_id"], logging=policy) as client:
                answer = await client.post(CHAT, json=asked("flagging", "42"))
                assert answer.headers["x-tuneway-flags"] == "digits"
        [judged] = await judgments(sv)
        assert (judged.passed, judged.rationale, judged.tags) == (False, None, ["regex"])
