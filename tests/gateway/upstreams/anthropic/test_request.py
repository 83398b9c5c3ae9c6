"""Parameters of a chat completion as parameters of a message."""

import hashlib
from typing import Any

import pytest

from gateway.upstreams.anthropic.request import DEFAULT_MAX_TOKENS, JSON_INSTRUCTION, messages_request
from tests.gateway.upstreams.anthropic.translated import HELLO, refused, text, translated

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def json_schema(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


class TestPlain:
    def test_nothing_but_what_anthropic_demands(self) -> None:
        assert translated() == {
            "model": "claude",
            "max_tokens": DEFAULT_MAX_TOKENS,
            "messages": [{"role": "user", "content": text("hello")}],
        }

    def test_the_served_name_is_the_model(self) -> None:
        sent = messages_request(b'{"model": "chat", "messages": [{"role": "user", "content": "hi"}]}', "claude-x")
        assert b'"model":"claude-x"' in sent

    @pytest.mark.parametrize(
        ("fields", "tokens"),
        [
            ({"max_tokens": 7}, 7),
            ({"max_completion_tokens": 8}, 8),
            ({"max_completion_tokens": 8, "max_tokens": 7}, 8),
            ({"max_tokens": None, "max_completion_tokens": None}, DEFAULT_MAX_TOKENS),
        ],
    )
    def test_max_tokens(self, fields: dict[str, Any], tokens: int) -> None:
        assert translated(**fields)["max_tokens"] == tokens

    def test_no_tokens_at_all_is_refused(self) -> None:
        assert refused(max_tokens=0).param == "max_tokens"

    @pytest.mark.parametrize(
        ("stop", "sequences"),
        [("END", ["END"]), (["a", "\n", " b"], ["a", " b"]), ("\n\n", None), ([], None), (None, None)],
    )
    def test_stop(self, stop: Any, sequences: list[str] | None) -> None:
        assert translated(stop=stop).get("stop_sequences") == sequences

    @pytest.mark.parametrize(("stream", "sent"), [(True, True), (False, None), (None, None)])
    def test_stream(self, stream: bool | None, sent: bool | None) -> None:
        assert translated(stream=stream, stream_options={"include_usage": True}).get("stream") is sent


class TestUser:
    @pytest.mark.parametrize("field", ["user", "safety_identifier"])
    def test_an_opaque_name_is_kept(self, field: str) -> None:
        assert translated(**{field: "user-1_a"})["metadata"] == {"user_id": "user-1_a"}

    @pytest.mark.parametrize("name", ["anna@example.org", "+41 44 555 55 55", "x" * 257])
    def test_what_may_name_a_person_is_hashed(self, name: str) -> None:
        assert translated(user=name)["metadata"] == {"user_id": hashlib.sha256(name.encode()).hexdigest()}

    def test_user_goes_before_safety_identifier(self) -> None:
        assert translated(user="a", safety_identifier="b")["metadata"] == {"user_id": "a"}


class TestEffort:
    @pytest.mark.parametrize(
        ("effort", "sent"),
        [("none", "low"), ("minimal", "low"), ("medium", "medium"), ("high", "high"), ("max", "max")],
    )
    def test_has_the_same_names(self, effort: str, sent: str) -> None:
        assert translated(reasoning_effort=effort)["output_config"] == {"effort": sent}

    def test_an_unknown_one_is_refused(self) -> None:
        refusal = refused(reasoning_effort="huge")
        assert refusal.param == "reasoning_effort"
        assert "xhigh" in str(refusal)

    def test_thinking_passes_as_it_is(self) -> None:
        assert translated(thinking={"type": "adaptive"})["thinking"] == {"type": "adaptive"}


class TestResponseFormat:
    def test_a_schema_becomes_the_output_format(self) -> None:
        sent = translated(response_format=json_schema(SCHEMA), reasoning_effort="low")
        assert sent["output_config"] == {
            "effort": "low",
            "format": {"type": "json_schema", "schema": SCHEMA | {"additionalProperties": False}},
        }

    def test_without_a_schema_there_is_nothing_to_keep_to(self) -> None:
        refusal = refused(response_format={"type": "json_schema", "json_schema": {"name": "x"}})
        assert refusal.param == "response_format.json_schema.schema"

    def test_json_object_becomes_an_instruction(self) -> None:
        sent = translated({"role": "system", "content": "Be brief."}, HELLO, response_format={"type": "json_object"})
        assert sent["system"] == text("Be brief.", JSON_INSTRUCTION)

    def test_text_is_the_default(self) -> None:
        assert translated(response_format={"type": "text"}) == translated()

    def test_an_unknown_type_is_refused(self) -> None:
        assert refused(response_format={"type": "grammar"}).param == "response_format.type"


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n", 2),
            ("logprobs", True),
            ("top_logprobs", 3),
            ("logit_bias", {"50256": -100}),
            ("modalities", ["text", "audio"]),
            ("audio", {"voice": "alloy", "format": "wav"}),
            ("web_search_options", {}),
        ],
    )
    def test_what_would_change_the_answer(self, name: str, value: Any) -> None:
        refusal = refused(**{name: value})
        assert (refusal.param, refusal.code) == (name, "unsupported_parameter")
        assert name in str(refusal)

    @pytest.mark.parametrize(
        "fields",
        [{"n": 1}, {"logprobs": False}, {"top_logprobs": 0}, {"logit_bias": {}}, {"modalities": ["text"]}, {"n": None}],
    )
    def test_but_not_when_it_asks_for_what_is_anyhow(self, fields: dict[str, Any]) -> None:
        assert translated(**fields) == translated()


class TestDropped:
    @pytest.mark.parametrize(
        "name",
        ["temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "store", "metadata", "service_tier",
         "stream_options", "prompt_cache_key", "prompt_cache_retention", "prediction", "verbosity", "something_new"],
    )  # fmt: skip
    def test_what_has_no_counterpart_and_does_no_harm(self, name: str) -> None:
        assert translated(**{name: 1}) == translated()


class TestMalformed:
    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"messages": "hello"}, "messages"),
            ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
            ({"messages": [HELLO, {"role": "user", "content": [{"type": "smell"}]}]}, "messages[1].content[0].type"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
            ({"stop": 3}, "stop"),
            ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ],
    )
    def test_names_the_field(self, fields: dict[str, Any], param: str) -> None:
        assert refused(**fields).param == param

    def test_a_schema_without_end(self) -> None:
        schema: dict[str, Any] = {"type": "string"}
        for _ in range(400):
            schema = {"type": "object", "properties": {"a": schema}}
        assert "too deeply" in str(refused(response_format=json_schema(schema)))
