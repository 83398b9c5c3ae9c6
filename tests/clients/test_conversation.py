"""A small conversation with tools and structured output, in each client library, whole and streamed, through a route.

The targets of the route are broken: every answer comes from its fallback, and the library is to notice nothing.
"""

import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.clients.conftest import NewKey
from tests.clients.libraries import LIBRARIES, Application
from tests.fakes.upstream import Upstream
from tests.gateway.conftest import RunningGateway
from tests.polling import until

SYSTEM = "You work for a shop."
QUESTIONS = ["Where is order 1234?", "And order 77?"]
WISH = "File a ticket."
ROUTE = "support-bot"
ROLES = ["system", *("user", "assistant", "tool", "tool", "assistant") * 2, "user"]
"""Of every message of the conversation."""
LENGTHS = [2, 5, 7, 10, 12]
"""How many of them each call holds: two calls for each question, because it takes tools to answer; then the ticket."""
BROKEN = {
    False: {"status-503": "server_error", "cut-before": "connection"},
    True: {"error-first": "server_error", "bare-500": "server_error"},
}
"""Streamed or not -> the targets of the route, and what becomes of a call that they get."""
NANO_USD = 8 * 5_000 + 4 * 500 + 4 * 10_000
"""What a call costs: of its 12 tokens of input 4 were cached, and there are 4 of output."""


@dataclass(frozen=True)
class Conversation:
    streamed: bool
    told: dict[str, Any]
    """What the application printed."""
    seen: list[dict[str, Any]]
    """What arrived upstream, also at the broken targets."""
    key: dict[str, Any]

    @property
    def answered(self) -> list[dict[str, Any]]:
        """What arrived at the model that answered."""
        return [request for request in self.seen if request["model"] == "assistant"]


@pytest.fixture(scope="session", params=LIBRARIES)
def application(request: pytest.FixtureRequest) -> Application:
    return LIBRARIES[request.param]()


@pytest.fixture(scope="module", params=[False, True], ids=["whole", "streamed"])
def conversation(
    request: pytest.FixtureRequest,
    application: Application,
    gateway: RunningGateway,
    admin: httpx.Client,
    new_key: NewKey,
    running_fake: Upstream,
) -> Conversation:
    """Whole: through the route in the settings. Streamed: through one of its project, under the same name."""
    key = new_key("shop")
    if request.param:
        make_route(admin, key["project_id"])
    running_fake.requests.clear()
    told = application.run(
        json.dumps([SYSTEM, *QUESTIONS, WISH]),
        BASE_URL=f"{gateway.url}/v1",
        API_KEY=key["value"],
        MODEL=ROUTE,
        STREAM=str(int(request.param)),
    )
    return Conversation(request.param, told, list(running_fake.requests), key)


def make_route(admin: httpx.Client, project_id: str) -> None:
    """As the one in the settings, with other broken targets."""
    spec = {
        "targets": [{"model": model} for model in BROKEN[True]],
        "fallbacks": [{"model": "assistant"}],
        "retries": {"count": 0},
        "breaker": {"failures": 0},
    }
    made = admin.post("/v1/routes", json={"name": ROUTE, "project_id": project_id, **spec})
    assert made.status_code == 200, made.text


def sentences(order: int) -> set[str]:
    """What the tools give, in any order: a library may run them side by side."""
    return {f"Order {order} left on Tuesday", "Refunds to France take five days"}


def split(text: str) -> set[str]:
    return {sentence.strip() for sentence in text.split(".") if sentence.strip()}


class TestTools:
    def test_ran_with_the_arguments_that_the_model_gave(self, conversation: Conversation) -> None:
        ran = sorted(conversation.told["ran"], key=str)
        assert ran == [
            ["order_status", {"order": 1234}],
            ["order_status", {"order": 77}],
            ["refund_days", {"country": "France"}],
            ["refund_days", {"country": "France"}],
        ]

    def test_results_became_the_answers(self, conversation: Conversation) -> None:
        found = [split(answer) for answer in conversation.told["answers"]]
        assert found == [sentences(order) | {"I looked it up"} for order in (1234, 77)]

    def test_results_carry_the_ids_of_their_calls(self, conversation: Conversation) -> None:
        messages = conversation.answered[-1]["messages"]
        called = [call["id"] for message in messages for call in message.get("tool_calls") or []]
        given = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
        assert len(set(called)) == 4
        assert sorted(given) == sorted(called)


class TestStreams:
    def test_pieces_came_one_by_one(self, conversation: Conversation) -> None:
        words = [len(answer.split()) for answer in conversation.told["answers"]]
        assert conversation.told["pieces"] == (words if conversation.streamed else [])


class TestStructuredOutput:
    def test_ticket_is_filled_from_the_conversation(self, conversation: Conversation) -> None:
        ticket = conversation.told["ticket"]
        assert split(ticket.pop("summary")) == sentences(77)
        assert ticket == {"order": 77, "urgent": True, "topics": ["delivery"]}

    def test_schema_was_sent(self, conversation: Conversation) -> None:
        *earlier, last = conversation.answered
        assert last["response_format"]["type"] == "json_schema"
        assert not any("response_format" in request for request in earlier)


class TestMemory:
    def test_every_turn_reached_the_model(self, conversation: Conversation) -> None:
        seen = [[message["role"] for message in request["messages"]] for request in conversation.answered]
        assert seen == [ROLES[:length] for length in LENGTHS]
        asked = [each["content"] for each in conversation.answered[-1]["messages"] if each["role"] == "user"]
        assert asked == [*QUESTIONS, WISH]
        assert [bool(request.get("stream")) for request in conversation.answered] == [conversation.streamed] * len(seen)

    def test_broken_targets_were_asked_the_same(self, conversation: Conversation) -> None:
        asked = {model: [] for model in (*BROKEN[conversation.streamed], "assistant")}
        for request in conversation.seen:
            asked[request["model"]].append(request | {"model": ROUTE})
        first, *others = asked.values()
        assert len(first) == len(LENGTHS)
        assert all(other == first for other in others)


class TestExchanges:
    async def test_name_the_route_what_was_asked_and_what_served(
        self, gateway: RunningGateway, conversation: Conversation
    ) -> None:
        revision = 1 if conversation.streamed else 0
        for each in await exchanges(gateway, conversation.key):
            assert (each["requested_model"], each["served_model"]) == (ROUTE, "assistant")
            assert each["route"] == f"{ROUTE}@{revision}"
            *failed, served = each["attempts"]
            assert {one["model"]: one["failure"] for one in failed} == BROKEN[conversation.streamed]
            assert (served["model"], served["failure"]) == ("assistant", None)
            assert (each["status"], each["outcome"], each["error"]) == (200, "completed", None)
            assert each["streamed"] == conversation.streamed

    async def test_tell_the_cost(self, gateway: RunningGateway, conversation: Conversation) -> None:
        for each in await exchanges(gateway, conversation.key):
            assert each["usage"] == {
                "input_tokens": 12,
                "cached_input_tokens": 4,
                "output_tokens": 4,
                "estimated": False,
            }
            assert (each["cost_nano"], each["priced"]) == (NANO_USD, True)


async def exchanges(gateway: RunningGateway, key: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the conversation, once all are there."""
    found: list[dict[str, Any]] = []
    headers = {"authorization": f"Bearer {key['value']}"}
    async with httpx.AsyncClient(base_url=f"{gateway.url}/v1", headers=headers, timeout=30) as client:

        async def complete() -> bool:
            found[:] = (await client.get("/exchanges", params={"limit": 100})).json()["data"]
            return len(found) >= len(LENGTHS)

        await until(complete)
    assert len(found) == len(LENGTHS)
    return found
