"""The fake speaks the real protocol: Anthropic's own client understands it, and it refuses what the API refuses."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from tests.fakes.anthropic import MODELS, FakeAnthropic, problem

HELLO: Any = [{"role": "user", "content": "one two"}]


@pytest.fixture(scope="module")
def client(running: FakeAnthropic) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(
        base_url=running.root, api_key="sk-ant", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def whole(**fields: Any) -> dict[str, Any]:
    return {"model": "echo", "max_tokens": 9, "messages": HELLO} | fields


class TestClient:
    @pytest.mark.parametrize("model", ["echo", "thinking", "refusal", "length", "cached"])
    def test_a_stream_adds_up_to_the_whole_reply(self, client: anthropic.Anthropic, model: str) -> None:
        reply = client.messages.create(**whole(model=model))
        with client.messages.stream(**whole(model=model)) as stream:
            streamed = stream.get_final_message()
        assert streamed.model_dump(exclude={"usage"}) == reply.model_dump(exclude={"usage"})
        assert streamed.usage.output_tokens == reply.usage.output_tokens

    def test_models(self, client: anthropic.Anthropic) -> None:
        assert [model.id for model in client.models.list()] == list(MODELS)

    def test_tools(self, client: anthropic.Anthropic) -> None:
        tools: Any = [{"name": "weather", "input_schema": {"type": "object"}}]
        with client.messages.stream(**whole(model="tools", tools=tools)) as stream:
            streamed = stream.get_final_message()
        calls = [block.input for block in streamed.content if block.type == "tool_use"]
        assert (streamed.stop_reason, calls) == ("tool_use", [{"city": "Zürich", "days": 2}, {}])

    @pytest.mark.parametrize(
        ("model", "error"),
        [
            ("status-429", anthropic.RateLimitError),
            ("status-404", anthropic.NotFoundError),
            ("status-529", anthropic.InternalServerError),
            ("too-long", anthropic.BadRequestError),
        ],
    )
    def test_errors(self, client: anthropic.Anthropic, model: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            client.messages.create(**whole(model=model))

    def test_an_error_midway(self, client: anthropic.Anthropic) -> None:
        with (
            pytest.raises(anthropic.APIStatusError, match="Overloaded"),
            client.messages.stream(**whole(model="error-midway")) as stream,
        ):
            stream.get_final_message()


class TestProblem:
    def test_none(self) -> None:
        assert problem(whole()) is None

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"temperature": 1}, "Extra inputs"),
            ({"max_tokens": None}, "max_tokens"),
            ({"messages": []}, "user role"),
            ({"messages": [{"role": "assistant", "content": "x"}]}, "user role"),
            ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, "prefill"),
            ({"messages": [{"role": "user", "content": " "}]}, "non-whitespace"),
            ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "source"),
            ({"stop_sequences": ["\n"]}, "stop_sequences"),
            ({"tool_choice": {"type": "auto"}}, "tool_choice"),
            ({"tools": [{"name": "a b", "input_schema": {"type": "object"}}]}, "tools"),
            (
                {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}]},
                "must define tools",
            ),
            (
                {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
                "additionalProperties",
            ),
        ],
    )
    def test_each_kind(self, fields: dict[str, Any], says: str) -> None:
        assert says in str(problem(whole(**fields)))
