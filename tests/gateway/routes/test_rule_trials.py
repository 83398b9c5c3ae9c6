"""POST /v1/rules/try: rules held against one answer."""

from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from gateway.db.tables import JudgmentRow
from gateway.protocol.rule_trials import TriedRule
from gateway.routes.rule_trials import LONGEST, trial
from gateway.services import Services
from tests.conftest import chat
from tests.gateway.test_errors import error_in

pytestmark = pytest.mark.anyio

Client = httpx.AsyncClient
SHORT = {"type": "length", "unit": "words", "most": 3}
JSON = {"type": "json"}


async def tried(client: Client, **body: Any) -> dict[str, Any]:
    answer = await client.post("/v1/rules/try", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestTextThatIsGiven:
    async def test_each_rule_says_its_own_in_order(self, client: Client) -> None:
        found = await tried(client, rules=[SHORT, JSON, SHORT | {"most": 9}], answer="one two three four")
        assert found["passed"] is False
        assert found["score"] == pytest.approx(1 / 3)
        assert [(each["rule"], each["passed"]) for each in found["rules"]] == [
            ("length", False),
            ("json", False),
            ("length", True),
        ]
        assert found["rules"][0]["rationale"] == "The answer has 4 words."
        assert found["rules"][0]["found"] == {"count": 4}
        assert found["rules"][2]["rationale"] is None

    async def test_the_question_is_what_the_user_said(self, client: Client) -> None:
        rule = {"type": "groundedness", "context": ["user"]}
        assert (await tried(client, rules=[rule], answer="Zebras graze.", question="Where do zebras graze?"))["passed"]
        assert (await tried(client, rules=[rule], answer="Zebras graze."))["passed"] is False

    async def test_what_cannot_be_applied_is_no_verdict(self, client: Client) -> None:
        found = await tried(client, rules=[{"type": "json_schema"}], answer="{}")
        assert (found["passed"], found["score"]) == (None, None)
        assert found["rules"][0]["error_code"] == "rule"
        assert "no schema" in found["rules"][0]["rationale"]


class TestAnExchange:
    async def test_its_first_answer_is_held_against_them_and_nothing_is_written(
        self, client: Client, sv: Services
    ) -> None:
        answer = await client.post("/v1/chat/completions", json=chat("echo", n=2))
        await sv.drain.drain()
        for id in (answer.headers["x-request-id"], answer.json()["id"]):
            found = await tried(client, rules=[JSON, SHORT | {"most": 99}], exchange_id=id)
            assert [each["passed"] for each in found["rules"]] == [False, True]
        async with sv.database.session() as session:
            assert await session.scalar(select(func.count()).select_from(JudgmentRow)) == 0

    async def test_one_that_is_not_there(self, client: Client) -> None:
        answer = await client.post("/v1/rules/try", json={"rules": [JSON], "exchange_id": "req_none"})
        assert answer.status_code == 404

    async def test_one_whose_call_failed_has_nothing_to_try_on(self, client: Client, sv: Services) -> None:
        answer = await client.post("/v1/chat/completions", json=chat("status-400"))
        await sv.drain.drain()
        id = answer.headers["x-request-id"]
        answer = await client.post("/v1/rules/try", json={"rules": [JSON], "exchange_id": id})
        assert error_in(answer, 400)["param"] == "exchange_id"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"rules": [], "answer": "x"}, "rules"),
        ({"rules": [JSON] * 31, "answer": "x"}, "rules"),
        ({"rules": [JSON, {"type": "regex", "pattern": "("}], "answer": "x"}, "rules[1].pattern"),
        ({"rules": [SHORT | {"most": "many"}], "answer": "x"}, "rules[0].most"),
        ({"rules": [JSON]}, "answer"),
        ({"rules": [JSON], "answer": "x", "exchange_id": "req_1"}, "answer"),
        ({"rules": [JSON], "answer": "x" * LONGEST, "question": "y"}, "answer"),
    ],
)
async def test_what_is_wrong_is_named(client: Client, body: dict[str, Any], param: str) -> None:
    answer = await client.post("/v1/rules/try", json=body)
    assert error_in(answer, 400)["param"] == param


async def test_answers_on_their_way_do_not_wait_for_trials(
    client: Client, sv: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sv.inline_rules, "check", None)  # whoever asks the processes of routes fails
    assert (await tried(client, rules=[JSON], answer="{}"))["passed"]


class TestAllTogether:
    @pytest.mark.parametrize(
        ("verdicts", "passed"),
        [([True, True], True), ([True, None], None), ([None, False], False), ([True, False], False)],
    )
    def test_broken_before_unknown_before_kept(self, verdicts: list[bool | None], passed: bool | None) -> None:
        each = [
            TriedRule(rule="json", passed=said, score=None, rationale=None, error_code=None, found={})
            for said in verdicts
        ]
        assert trial(each).passed is passed
