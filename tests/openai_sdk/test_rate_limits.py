"""A key under rate limits, as applications feel it: the headers, the refusal, and an SDK that waits as long as it is told."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from openai import DefaultHttpxClient, OpenAI, RateLimitError

from deploy.demo.stack import DemoStack, Key
from tests.openai_sdk import contract
from tests.openai_sdk.stacks import connect, user

pytestmark = pytest.mark.train

LIMIT = 30
"""Calls a minute: all at once, then one each two seconds."""
RETRIES = 5


@dataclass
class Wire:
    """What was answered, and when it was asked and answered."""

    asked: list[float] = field(default_factory=list)
    answered: list[tuple[float, Any]] = field(default_factory=list)

    def http(self) -> Any:
        def ask(request: Any) -> None:
            self.asked.append(time.monotonic())

        def answer(response: Any) -> None:
            self.answered.append((time.monotonic(), response))

        return DefaultHttpxClient(event_hooks={"request": [ask], "response": [contract.check, answer]})


@pytest.fixture
def limited(stack: DemoStack, request: pytest.FixtureRequest) -> Key:
    """A key of its own project, which may call `echo` LIMIT times a minute."""
    key = stack.make_key(f"limited by {request.node.name}", "web")
    with connect(stack, "sk-none") as client:
        limits = client.admin.organization.projects.rate_limits
        limits.update_rate_limit("rl-echo", project_id=key.project_id, max_requests_per_1_minute=LIMIT)
    return key


def use_up(client: OpenAI) -> RateLimitError:
    """Calls until one is refused."""
    for _ in range(10 * LIMIT):
        try:
            client.chat.completions.create(model="echo", messages=user("hello"))
        except RateLimitError as error:
            return error
    raise AssertionError("nothing was refused")


def with_openai(stack: DemoStack, key: Key, http: Any) -> None:
    with connect(stack, key.value, max_retries=RETRIES, http_client=http) as client:
        assert client.chat.completions.create(model="echo", messages=user("hello"))


def with_langchain(stack: DemoStack, key: Key, http: Any) -> None:
    address: dict[str, Any] = {"base_url": f"{stack.url}/v1", "api_key": key.value}
    model = ChatOpenAI(model="echo", max_retries=RETRIES, http_client=http, **address)
    assert model.invoke("hello").text


class TestRateLimits:
    def test_headers_and_refusal(self, stack: DemoStack, limited: Key) -> None:
        with connect(stack, limited.value) as client:
            raw = client.chat.completions.with_raw_response.create(model="echo", messages=user("hello"))
            assert raw.headers["x-ratelimit-limit-requests"] == str(LIMIT)
            assert 0 < int(raw.headers["x-ratelimit-remaining-requests"]) < LIMIT
            assert raw.headers["x-ratelimit-reset-requests"].endswith("s")
            refusal = use_up(client)
        assert (refusal.code, refusal.type) == ("rate_limit_exceeded", "requests")
        headers = refusal.response.headers
        assert headers["x-ratelimit-remaining-requests"] == "0"
        assert 0 < int(headers["retry-after-ms"]) <= 1000 * int(headers["retry-after"]) <= 2000

    @pytest.mark.parametrize("call", [with_openai, with_langchain])
    def test_a_client_waits_as_long_as_it_is_told(
        self, stack: DemoStack, limited: Key, call: Callable[[DemoStack, Key, Any], None]
    ) -> None:
        with connect(stack, limited.value) as client:
            use_up(client)
        wire = Wire()
        with wire.http() as http:
            call(stack, limited, http)
        assert [response.status_code for _, response in wire.answered] == [429] * (len(wire.asked) - 1) + [200]
        assert len(wire.asked) >= 2
        for (refused, response), again in zip(wire.answered, wire.asked[1:], strict=False):
            assert again - refused >= int(response.headers["retry-after-ms"]) / 1000
