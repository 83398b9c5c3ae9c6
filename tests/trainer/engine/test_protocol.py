import msgspec
import pytest

from trainer.engine import protocol
from trainer.engine.refusals import Invalid

pytestmark = pytest.mark.train

HELLO = [{"role": "user", "content": "hello"}]

decode = protocol.decoder_of(protocol.ChatCall)


def chat(**fields) -> protocol.ChatCall:
    call = decode(msgspec.json.encode({"model": "m", "messages": HELLO, **fields}))
    protocol.check_chat(call)
    return call


def refusal(make, *arguments, **fields) -> Invalid:
    with pytest.raises(Invalid) as caught:
        make(*arguments, **fields)
    return caught.value


class TestDecoding:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("temperature", 2.5),
            ("temperature", "hot"),
            ("top_p", -0.1),
            ("top_k", -2),
            ("n", 0),
            ("n", 9),
            ("max_tokens", 0),
            ("max_completion_tokens", -1),
            ("frequency_penalty", 3),
            ("presence_penalty", -3),
            ("stop", ["a", "b", "c", "d", "e"]),
            ("seed", 1.5),
            ("stream", "yes"),
            ("messages", []),
            ("messages", "hello"),
            ("model", 7),
        ],
    )
    def test_wrong_types_and_ranges_name_the_parameter(self, field, value):
        refused = refusal(chat, **{field: value})
        assert (refused.status, refused.param, refused.code) == (400, field, "invalid_value")
        assert refused.message.startswith(f"Invalid '{field}': ")

    def test_paths_reach_into_lists(self):
        refused = refusal(chat, stream=True, stream_options={"include_usage": 1})
        assert refused.param == "stream_options.include_usage"

    @pytest.mark.parametrize("field", ["model", "messages"])
    def test_missing_parameters(self, field):
        body = {"model": "m", "messages": HELLO}
        del body[field]
        refused = refusal(decode, msgspec.json.encode(body))
        assert (refused.message, refused.param) == (f"Missing required parameter: '{field}'.", field)

    @pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"model": "\xff"}'])
    def test_bodies_that_are_no_request(self, body):
        assert refusal(decode, body).status == 400

    def test_null_means_not_given_and_unknown_fields_are_ignored(self):
        call = chat(temperature=None, n=None, stop=None, tools=None, made_up={"x": 1})
        assert call.temperature is None


class TestChecks:
    @pytest.mark.parametrize(
        "fields",
        [
            {"response_format": {"type": "json_object"}},
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}},
            {"tool_choice": "required"},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
            {"modalities": ["text", "audio"]},
        ],
    )
    def test_what_only_vllm_can_do_says_so(self, fields):
        refused = refusal(chat, **fields)
        assert refused.status == 400
        assert refused.param in fields
        assert "vLLM" in refused.message

    def test_what_is_text_anyway_passes(self):
        chat(response_format={"type": "text"}, tool_choice="auto", modalities=["text"])

    def test_stream_options_need_a_stream(self):
        assert refusal(chat, stream_options={"include_usage": True}).param == "stream_options"

    def test_top_logprobs_need_logprobs(self):
        assert refusal(chat, top_logprobs=3).param == "top_logprobs"


class TestOptions:
    def options(self, call, **defaults):
        return protocol.options_of(
            call, defaults, vocab_size=100, max_tokens=5, stop_ids=frozenset({2}), top_logprobs=None
        )

    def test_the_models_own_settings_fill_what_a_call_leaves_out(self):
        options = self.options(chat(temperature=0.5), temperature=0.7, top_p=0.8, top_k=20)
        assert (options.temperature, options.top_p, options.top_k) == (0.5, 0.8, 20)

    def test_openai_defaults_without_any(self):
        options = self.options(chat())
        assert (options.temperature, options.top_p, options.top_k) == (1.0, 1.0, 0)

    def test_stop_is_one_text_or_several(self):
        assert self.options(chat(stop="x")).stop == ("x",)
        assert self.options(chat(stop=["x", "", "y"])).stop == ("x", "y")

    def test_stop_token_ids_join_the_models(self):
        assert self.options(chat(stop_token_ids=[9])).stop_ids == {2, 9}
        for id in (100, -1, 10**30):
            assert refusal(self.options, chat(stop_token_ids=[id])).param == "stop_token_ids"

    def test_logit_bias_takes_ids_of_the_vocabulary(self):
        assert self.options(chat(logit_bias={"7": -100})).logit_bias == {7: -100}
        for key in ("100", "-1", "hello", "\u0663", "1" * 5000, "1" * 5000 + "x"):
            refused = refusal(self.options, chat(logit_bias={key: 1}))
            assert refused.param == "logit_bias"
            assert len(str(refused)) < 200
        assert refusal(chat, logit_bias={"7": 101}).status == 400


class TestPrompts:
    def prompts(self, prompt):
        call = protocol.decoder_of(protocol.CompletionCall)(msgspec.json.encode({"model": "m", "prompt": prompt}))
        return protocol.prompts_of(call, 100)

    def test_texts_and_token_ids_one_or_many(self):
        assert self.prompts("a") == ["a"]
        assert self.prompts(["a", "b"]) == ["a", "b"]
        assert self.prompts([1, 2]) == [[1, 2]]
        assert self.prompts([[1], [2, 3]]) == [[1], [2, 3]]

    @pytest.mark.parametrize("prompt", [[], [[]], [1, "a"], ["a", [1]], [100], [-1], [True], [[1], []], [1.5]])
    def test_anything_else_is_refused(self, prompt):
        assert refusal(self.prompts, prompt).param == "prompt"
