"""OpenAI's client, a gateway process, and Anthropic's API behind it."""

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pydantic
import pytest
from openai import OpenAI

from tests.conftest import ADMIN_KEY
from tests.contract import conforms
from tests.fakes.anthropic import MODELS, FakeAnthropic
from tests.gateway.conftest import RunningGateway, StartGateway
from tests.gateway.upstreams.anthropic.translated import PNG, WEATHER

SECRET = "sk-ant-secret"
HELLO: Any = [{"role": "user", "content": "one two three"}]
NOW: dict[str, Any] = {"type": "function", "function": {"name": "now"}}
NAMES = {f"claude-{model}": model for model in MODELS} | {"claude": "echo"}
"""As clients call them -> as the fake knows them."""


@pytest.fixture(scope="module")
def gateway(start_gateway: StartGateway, running: FakeAnthropic) -> RunningGateway:
    served = ", ".join(f'"{name}" = "{model}"' for name, model in NAMES.items())
    upstream = f'''
[[upstreams]]
name = "anthropic"
kind = "anthropic"
base_url = "{running.url}"
api_key = "{SECRET}"
models = {json.dumps(list(NAMES))}
served_names = {{ {served} }}
headers = {{ "anthropic-beta" = "some-beta" }}
'''
    return start_gateway(config=upstream + CONFIG, routing__retries="0", encryption_key="1f" * 32)


CONFIG = """
[[prices]]
model = "claude-cached"
input = 5.0
cached_input = 0.5
output = 10.0

[[routes]]
name = "safe"
targets = [{ model = "claude-error-first" }]
fallbacks = [{ model = "echo" }]
retries = { count = 0 }

[[routes]]
name = "busy"
targets = [{ model = "claude-status-529" }]
fallbacks = [{ model = "echo" }]
retries = { count = 0 }

[[routes]]
name = "long"
targets = [{ model = "claude-too-long" }]
fallbacks = [{ model = "echo", on = ["context_length"] }]

[[routes]]
name = "to-claude"
targets = [{ model = "status-500" }]
fallbacks = [{ model = "claude" }]
retries = { count = 0 }
"""


@pytest.fixture(scope="module")
def client(gateway: RunningGateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key["value"], max_retries=0, timeout=30) as client:
        yield client


def ask(client: OpenAI, model: str = "claude", **fields: Any) -> Any:
    return client.chat.completions.create(**{"model": model, "messages": HELLO} | fields)


class TestWhole:
    def test_a_chat(self, client: OpenAI, fake: FakeAnthropic) -> None:
        raw = client.chat.completions.with_raw_response.create(
            model="claude", messages=HELLO, temperature=0.2, seed=3, user="u-1", stop="END", max_tokens=50
        )
        reply = raw.parse()
        assert reply.choices[0].message.content == "one two three"
        assert (reply.choices[0].finish_reason, reply.model) == ("stop", "echo")
        assert raw.headers["x-tuneway-model"] == "claude"
        assert reply.usage.total_tokens == 21
        assert fake.requests == [
            {
                "model": "echo",
                "max_tokens": 50,
                "messages": [{"role": "user", "content": [{"type": "text", "text": "one two three"}]}],
                "stop_sequences": ["END"],
                "metadata": {"user_id": "u-1"},
            }
        ]

    def test_key_version_and_own_headers_go_along(self, client: OpenAI, fake: FakeAnthropic) -> None:
        ask(client)
        [headers] = fake.headers
        assert (headers["x-api-key"], headers["anthropic-version"], headers["anthropic-beta"]) == (
            SECRET,
            "2026-10-21",
            "some-beta",
        )
        assert "authorization" not in headers

    @pytest.mark.parametrize("model", ["claude", "claude-tools", "claude-refusal", "claude-length", "claude-cached"])
    def test_a_reply_is_what_openai_sends(self, gateway: RunningGateway, model: str) -> None:
        reply = post(gateway, {"model": model, "messages": HELLO, "tools": [WEATHER, NOW]})
        conforms("CreateChatCompletionResponse", reply.json())

    def test_images_and_files(self, client: OpenAI) -> None:
        parts = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.jpg"}},
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}},
        ]
        reply = ask(client, "claude-see", messages=[{"role": "user", "content": parts}])
        seen = reply.choices[0].message.content
        assert seen == "image/png 12, https://example.org/a.jpg, application/pdf 8"

    def test_structured_output(self, client: OpenAI) -> None:
        class City(pydantic.BaseModel):
            name: str
            population: int = pydantic.Field(ge=1)
            districts: list[str]
            mayor: str | None

        reply = client.chat.completions.parse(model="claude-structured", messages=HELLO, response_format=City)
        assert reply.choices[0].message.parsed == City(name="text", population=3, districts=["text"], mayor="text")

    def test_cached_input_is_metered_as_such(self, client: OpenAI) -> None:
        raw = client.chat.completions.with_raw_response.create(model="claude-cached", messages=HELLO)
        cost = (16 * 5.0 + 8 * 0.5 + 9 * 10.0) / 1_000_000
        assert float(raw.headers["x-tuneway-cost"]) == pytest.approx(cost)


class TestTools:
    def test_a_conversation(self, client: OpenAI, fake: FakeAnthropic) -> None:
        messages: list[Any] = [*HELLO]
        asked = ask(client, "claude-tools", messages=messages, tools=[WEATHER, NOW]).choices[0].message
        assert [call.function.name for call in asked.tool_calls] == ["weather", "now"]
        messages.append(asked.model_dump(exclude_none=True))
        messages += [
            {"role": "tool", "tool_call_id": call.id, "content": call.function.name} for call in asked.tool_calls
        ]
        messages.append({"role": "user", "content": "So?"})
        assert ask(client, messages=messages, tools=[WEATHER, NOW]).choices[0].message.content == "So?"
        [_, calls, results] = fake.requests[-1]["messages"]
        assert [block.get("input") for block in calls["content"]] == [None, {"city": "Zürich", "days": 2}, {}]
        assert [block["type"] for block in results["content"]] == ["tool_result", "tool_result", "text"]

    def test_streamed(self, client: OpenAI) -> None:
        with client.chat.completions.stream(model="claude-tools", messages=HELLO, tools=[WEATHER, NOW]) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion().choices[0]
        assert {"tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= kinds
        assert final.finish_reason == "tool_calls"
        assert [json.loads(call.function.arguments) for call in final.message.tool_calls] == [
            {"city": "Zürich", "days": 2},
            {},
        ]

    def test_thoughts_come_back_with_the_next_request(self, client: OpenAI, fake: FakeAnthropic) -> None:
        said = ask(client, "claude-thinking", extra_body={"thinking": {"type": "adaptive"}}).choices[0].message
        assert said.reasoning_content == "First this, then that."
        ask(client, messages=[*HELLO, said.model_dump(exclude_none=True), *HELLO])
        assert [block["type"] for block in fake.requests[-1]["messages"][1]["content"]] == [
            "thinking",
            "redacted_thinking",
            "text",
        ]


class TestStreamed:
    def test_text(self, client: OpenAI) -> None:
        chunks = list(ask(client, stream=True))
        assert [each.choices[0].delta.content for each in chunks[1:-1]] == ["one ", "two ", "three"]
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-1].choices[0].finish_reason == "stop"
        assert all(chunk.usage is None for chunk in chunks)

    def test_usage_comes_when_asked(self, client: OpenAI) -> None:
        chunks = list(ask(client, "claude-cached", stream=True, stream_options={"include_usage": True}))
        assert chunks[-1].choices == []
        assert [chunk for chunk in chunks if chunk.usage] == chunks[-1:]
        assert chunks[-1].usage.prompt_tokens == 24
        assert chunks[-1].usage.prompt_tokens_details.cached_tokens == 8

    @pytest.mark.parametrize("model", ["claude", "claude-tools", "claude-refusal", "claude-length", "claude-strange"])
    def test_every_event_is_what_openai_sends(self, gateway: RunningGateway, model: str) -> None:
        body = {"model": model, "messages": HELLO, "stream": True, "stream_options": {"include_usage": True}}
        lines = [line for line in post(gateway, body).text.splitlines() if line and not line.startswith(":")]
        assert lines[-1] == "data: [DONE]"
        for line in lines[:-1]:
            conforms("CreateChatCompletionStreamResponse", json.loads(line.removeprefix("data: ")))

    def test_structured_output(self, client: OpenAI) -> None:
        class Answer(pydantic.BaseModel):
            n: int

        with client.chat.completions.stream(
            model="claude-structured", messages=HELLO, response_format=Answer
        ) as stream:
            final = stream.get_final_completion()
        assert final.choices[0].message.parsed == Answer(n=3)


class TestRefused:
    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"n": 2}, "n"),
            ({"logprobs": True}, "logprobs"),
            (
                {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
                "messages[0].content[0].type",
            ),
        ],
    )
    def test_what_anthropic_cannot_do(self, client: OpenAI, fake: FakeAnthropic, fields: Any, param: str) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            ask(client, **fields)
        assert raised.value.param == param
        assert fake.requests == []

    def test_text_completions(self, client: OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="/v1/chat/completions") as raised:
            client.completions.create(model="claude", prompt="x")
        assert raised.value.param == "model"


class TestErrors:
    def test_a_rate_limit_tells_when_to_come_back(self, client: OpenAI) -> None:
        with pytest.raises(openai.RateLimitError) as raised:
            ask(client, "claude-status-429")
        assert raised.value.code == "rate_limit_exceeded"
        assert raised.value.response.headers["retry-after"] == "7"

    @pytest.mark.parametrize(
        ("model", "error", "status"),
        [
            ("status-400", openai.BadRequestError, 400),
            ("status-401", openai.InternalServerError, 502),
            ("status-404", openai.NotFoundError, 404),
            ("status-413", openai.APIStatusError, 413),
            ("status-500", openai.InternalServerError, 502),
            ("status-529", openai.InternalServerError, 502),
        ],
    )
    def test_each_status(self, client: OpenAI, model: str, error: Any, status: int) -> None:
        for stream in (False, True):
            with pytest.raises(error) as raised:
                ask(client, f"claude-{model}", stream=stream)
            assert raised.value.status_code == status

    def test_a_prompt_that_is_too_long(self, client: OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as raised:
            ask(client, "claude-too-long")
        assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "messages")

    def test_a_stream_that_is_overloaded_before_its_first_token(self, client: OpenAI) -> None:
        with pytest.raises(openai.InternalServerError, match="Overloaded"):
            ask(client, "claude-error-first", stream=True)

    def test_a_stream_that_breaks_midway(self, client: OpenAI) -> None:
        texts = []
        with pytest.raises(openai.APIError, match="Overloaded"):
            texts += [
                chunk.choices[0].delta.content
                for chunk in _noting(ask(client, "claude-error-midway", stream=True), texts)
            ]
        assert "".join(texts) == "one two "

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_connection_that_is_cut(self, client: OpenAI, stream: bool) -> None:
        with pytest.raises(openai.APIError):
            list(ask(client, "claude-cut", stream=stream))

    def test_one_that_is_cut_is_charged_with_the_input_that_was_told(
        self, client: OpenAI, gateway: RunningGateway
    ) -> None:
        with pytest.raises(openai.APIError):
            list(ask(client, "claude-cut", stream=True, user="cut-here"))

        headers = {"authorization": f"Bearer {gateway.key['value']}"}
        until = time.monotonic() + 20
        while not (found := httpx.get(f"{gateway.url}/v1/exchanges?user=cut-here", headers=headers).json()["data"]):
            assert time.monotonic() < until
            time.sleep(0.05)
        assert (found[0]["usage"]["input_tokens"], found[0]["usage"]["estimated"]) == (12, True)


def _noting(stream: Any, texts: list[str]) -> Iterator[Any]:
    for chunk in stream:
        texts.append(chunk.choices[0].delta.content or "")
        yield chunk


class TestFallback:
    @pytest.mark.parametrize("route", ["safe", "busy", "long"])
    def test_another_provider_takes_over_before_the_first_token(self, client: OpenAI, route: str) -> None:
        raw = client.chat.completions.with_raw_response.create(model=route, messages=HELLO, stream=True)
        assert raw.headers["x-tuneway-model"] == "echo"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse()) == "one two three four "

    @pytest.mark.parametrize("route", ["busy", "long"])
    def test_and_for_whole_replies(self, client: OpenAI, route: str) -> None:
        raw = client.chat.completions.with_raw_response.create(model=route, messages=HELLO)
        assert raw.headers["x-tuneway-model"] == "echo"
        assert raw.parse().choices[0].message.content == "one two three"

    def test_anthropic_answers_for_another_provider(self, client: OpenAI) -> None:
        raw = client.chat.completions.with_raw_response.create(model="to-claude", messages=HELLO, temperature=1.5)
        assert raw.headers["x-tuneway-model"] == "claude"
        assert raw.parse().choices[0].message.content == "one two three"

    def test_a_call_that_anthropic_cannot_take_fails_as_it_did_before(self, client: OpenAI) -> None:
        with pytest.raises(openai.InternalServerError, match="500"):
            ask(client, "to-claude", n=2)


class TestAddedWhileRunning:
    def test_it_is_tested_listed_and_called(
        self, gateway: RunningGateway, client: OpenAI, running: FakeAnthropic
    ) -> None:
        fields = {
            "name": "later",
            "kind": "anthropic",
            "base_url": running.url,
            "api_key": SECRET,
            "models": [{"model": "later", "served_name": "echo"}],
        }
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        with httpx.Client(base_url=f"{gateway.url}/v1/upstreams", headers=headers, timeout=30) as admin:
            created = admin.post("", json=fields).raise_for_status().json()
            tested = admin.post(f"/{created['id']}/test", json={}).json()
            assert (tested["ok"], tested["error"]) == (True, None)
            offered = admin.get(f"/{created['id']}/available_models").json()["data"]
            assert [(each["id"], each["models"]) for each in offered][:2] == [("echo", ["later"]), ("see", [])]
        assert ask(client, "later").choices[0].message.content == "one two three"


def post(gateway: RunningGateway, body: dict[str, Any]) -> httpx.Response:
    headers = {"authorization": f"Bearer {gateway.key['value']}"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30)
