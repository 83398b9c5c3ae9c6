"""The engine over HTTP: the openai SDK where a client would use it, raw bytes where bytes matter."""

import http.client
import json
import math
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import torch
from openai import OpenAI
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer.engine.wire import CONTEXT, HELLO, RunningEngine, error_of, post, stream

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def client(served: RunningEngine) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def tokenizer(nano_model):
    return AutoTokenizer.from_pretrained(nano_model)


@pytest.fixture(scope="module")
def model(nano_model):
    return AutoModelForCausalLM.from_pretrained(nano_model).eval()


@pytest.fixture(scope="module")
def greedy(model, tokenizer):
    """What `generate` writes after these messages, as ids."""

    def write(messages=HELLO, count: int = 30) -> list[int]:
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt").input_ids
        settings = {"do_sample": False, "max_new_tokens": count, "pad_token_id": 0}
        return model.generate(ids, attention_mask=torch.ones_like(ids), **settings)[0, ids.shape[1] :].tolist()

    return write


class TestChat:
    def test_greedy_answers_are_those_of_generate(self, client, greedy, tokenizer):
        for text in ("hello world", "the sky says", "日本 🙂"):
            messages: Any = [{"role": "system", "content": "a blue sea"}, {"role": "user", "content": text}]
            expected = greedy(messages)
            answer = client.chat.completions.create(model="nano", messages=messages, temperature=0, max_tokens=30)
            written = tokenizer.decode(expected, skip_special_tokens=True)
            assert answer.choices[0].message.content == written.rstrip("\ufffd")
            assert answer.usage is not None
            assert answer.usage.completion_tokens == len(expected)
            assert answer.choices[0].finish_reason == ("stop" if len(expected) < 30 else "length")

    def test_the_body(self, client):
        answer = client.chat.completions.create(model="nano", messages=HELLO, temperature=0, max_tokens=5)
        assert set(answer.to_dict()) == {"id", "object", "created", "model", "choices", "usage"}
        assert answer.id.startswith("chatcmpl-")
        assert (answer.object, answer.model) == ("chat.completion", "nano")
        assert answer.choices[0].to_dict() == {
            "index": 0,
            "message": {"role": "assistant", "content": answer.choices[0].message.content, "refusal": None},
            "logprobs": None,
            "finish_reason": "length",
        }
        prompt_tokens = answer.usage.prompt_tokens
        assert answer.usage.to_dict() == {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": 5,
            "total_tokens": prompt_tokens + 5,
            "prompt_tokens_details": {"cached_tokens": 0},
        }

    def test_without_max_tokens_an_answer_may_fill_the_context(self, client, served):
        answer = client.chat.completions.create(
            model="nano", messages=HELLO, temperature=0, extra_body={"ignore_eos": True}
        )
        assert answer.usage.total_tokens == CONTEXT
        assert answer.choices[0].finish_reason == "length"

    def test_the_end_of_sequence_is_counted_and_not_shown(self, client, tokenizer):
        end = tokenizer.eos_token_id
        answer = client.chat.completions.create(model="nano", messages=HELLO, logit_bias={str(end): 100})
        assert answer.choices[0].message.content == ""
        assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("stop", 1)

    def test_choices_differ_and_a_seed_repeats_them(self, client):
        def ask() -> list[str]:
            answer = client.chat.completions.create(model="nano", messages=HELLO, n=3, seed=5, max_tokens=12)
            assert [choice.index for choice in answer.choices] == [0, 1, 2]
            return [choice.message.content for choice in answer.choices]

        first = ask()
        assert len(set(first)) == 3
        assert ask() == first
        alone = client.chat.completions.create(model="nano", messages=HELLO, seed=5, max_tokens=12)
        assert alone.choices[0].message.content == first[0]

    def test_roles_parts_and_tools_reach_the_template(self, served, tokenizer):
        messages = [
            {"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "user", "content": "c"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "d"},
        ]
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        body = {"model": "nano", "messages": messages, "tools": tools}
        answer = json.loads(post(served, "/tokenize", body)[2])
        text = tokenizer.decode(answer["tokens"])
        assert "<|im_start|>system\na\nb<|im_end|>" in text  # this template knows no developer
        assert '<tool_call>f{"x": 1}</tool_call>' in text
        assert text.startswith("<|im_start|>system\nTools: ")
        assert text.endswith("<|im_start|>assistant\n")
        status, _, raw = post(served, "/v1/chat/completions", {**body, "tool_choice": "auto", "max_tokens": 3})
        assert status == 200
        assert json.loads(raw)["usage"]["prompt_tokens"] == answer["count"] == len(answer["tokens"])


class TestLogprobs:
    def test_chat(self, client, model, tokenizer):
        answer = client.chat.completions.create(
            model="nano", messages=HELLO, temperature=0, max_tokens=4, logprobs=True, top_logprobs=3
        )
        entries = answer.choices[0].logprobs.content
        assert len(entries) == 4
        ids = tokenizer.apply_chat_template(HELLO, add_generation_prompt=True, return_tensors="pt").input_ids
        with torch.inference_mode():
            expected = torch.log_softmax(model(ids).logits[0, -1], -1).topk(3)
        assert [top.logprob for top in entries[0].top_logprobs] == pytest.approx(expected.values.tolist(), abs=1e-4)
        assert entries[0].logprob == entries[0].top_logprobs[0].logprob
        assert bytes(entries[0].bytes).decode(errors="replace") == entries[0].token

    def test_streamed_chat(self, served):
        chunks = stream(served, messages=HELLO, temperature=0, max_tokens=6, logprobs=True)
        entries = [
            entry
            for chunk in chunks
            if chunk["choices"][0]["logprobs"]
            for entry in chunk["choices"][0]["logprobs"]["content"]
        ]
        assert len(entries) == 6
        assert all(entry["top_logprobs"] == [] for entry in entries)

    def test_completions(self, client):
        answer = client.completions.create(model="nano", prompt="hello", temperature=0, max_tokens=5, logprobs=2)
        report = answer.choices[0].logprobs
        assert len(report.tokens) == len(report.token_logprobs) == len(report.text_offset) == 5
        assert report.text_offset[0] == 0
        for token, logprob, top in zip(report.tokens, report.token_logprobs, report.top_logprobs, strict=True):
            assert top[token] == pytest.approx(max(top.values())) == pytest.approx(logprob)


class TestCompletions:
    def test_the_body(self, client):
        answer = client.completions.create(model="nano", prompt="hello", temperature=0)
        assert (answer.object, answer.id[:5]) == ("text_completion", "cmpl-")
        assert answer.usage.completion_tokens == 16
        assert set(answer.choices[0].to_dict()) == {"index", "text", "logprobs", "finish_reason"}

    def test_many_prompts_and_choices(self, client, tokenizer):
        alone = [
            client.completions.create(model="nano", prompt=text, temperature=0, max_tokens=6).choices[0].text
            for text in ("hello", "the sky says one")
        ]
        together = client.completions.create(
            model="nano", prompt=["hello", "the sky says one"], temperature=0, max_tokens=6, n=2
        )
        assert [choice.text for choice in together.choices] == [alone[0], alone[0], alone[1], alone[1]]
        assert [choice.index for choice in together.choices] == [0, 1, 2, 3]
        ids = tokenizer("hello").input_ids
        as_ids = client.completions.create(model="nano", prompt=[ids, ids], temperature=0, max_tokens=6)
        assert [choice.text for choice in as_ids.choices] == [alone[0], alone[0]]
        assert as_ids.usage.prompt_tokens == 2 * len(ids)

    def test_echo_repeats_the_prompt(self, served, client):
        answer = client.completions.create(model="nano", prompt="hello", temperature=0, max_tokens=6, echo=True)
        assert answer.choices[0].text.startswith("hello")
        chunks = stream(served, "/v1/completions", prompt="hello", temperature=0, max_tokens=6, echo=True)
        assert "".join(chunk["choices"][0]["text"] for chunk in chunks) == answer.choices[0].text
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-1] == "length"


class TestRefusals:
    def test_unknown_model(self, client):
        with pytest.raises(openai.NotFoundError) as caught:
            client.chat.completions.create(model="x", messages=HELLO)
        assert caught.value.code == "model_not_found"
        assert caught.value.body["message"] == "The model `x` does not exist."

    def test_prompt_longer_than_the_context(self, client):
        messages: Any = [{"role": "user", "content": "hello " * CONTEXT}]
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="nano", messages=messages, stream=True)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
        assert caught.value.body["message"].startswith(
            f"This model's maximum context length is {CONTEXT} tokens. However, your messages resulted in "
        )

    def test_prompt_and_answer_longer_than_the_context(self, served):
        body = {"model": "nano", "prompt": "hello", "max_tokens": CONTEXT}
        status, error = error_of(served, "/v1/completions", body)
        assert (status, error["code"], error["param"]) == (400, "context_length_exceeded", "prompt")

    def test_the_template_may_refuse(self, served):
        body = {"model": "nano", "messages": [{"role": "user", "content": "refuse me"}]}
        status, error = error_of(served, "/v1/chat/completions", body)
        assert (status, error["param"]) == (400, "messages")
        assert "no such turn" in error["message"]

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"temperature": 3}, "temperature"),
            ({"logit_bias": {"100000": 1}}, "logit_bias"),
            ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]"),
            ({"response_format": {"type": "json_object"}}, "response_format"),
        ],
    )
    def test_bad_requests_name_the_parameter(self, served, fields, param):
        body = {"model": "nano", "messages": HELLO, **fields}
        status, error = error_of(served, "/v1/chat/completions", body)
        assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param)

    def test_bodies_that_are_no_json(self, served):
        assert error_of(served, "/v1/chat/completions", b"{")[0] == 400

    def test_no_such_url_or_method(self, served):
        assert error_of(served, "/v1/nothing", {})[0] == 404
        assert error_of(served, "/health", {})[0] == 405


class TestTokenize:
    def test_prompt(self, served, tokenizer):
        answer = json.loads(post(served, "/tokenize", {"prompt": "hello world"})[2])
        assert answer == {"count": len(answer["tokens"]), "max_model_len": CONTEXT, "tokens": answer["tokens"]}
        assert answer["tokens"] == tokenizer("hello world").input_ids

    def test_messages_as_training_sees_them(self, served, tokenizer):
        body = {"messages": HELLO, "add_generation_prompt": False}
        answer = json.loads(post(served, "/tokenize", body)[2])
        text = tokenizer.apply_chat_template(HELLO, tokenize=False)
        assert answer["tokens"] == tokenizer(text, add_special_tokens=False).input_ids

    def test_and_back(self, served):
        tokens = json.loads(post(served, "/tokenize", {"prompt": "naïve 🙂"})[2])["tokens"]
        assert json.loads(post(served, "/detokenize", {"tokens": tokens})[2]) == {"prompt": "naïve 🙂"}

    def test_neither(self, served):
        assert error_of(served, "/tokenize", {})[0] == 400


class TestModels:
    def test_the_base_card(self, client, nano_model):
        (card,) = client.models.list().data
        assert card.to_dict() == {
            "id": "nano",
            "object": "model",
            "created": card.created,
            "owned_by": "tuneway",
            "root": str(nano_model),
            "parent": None,
            "max_model_len": CONTEXT,
        }


class TestMetrics:
    def test_vllms_names(self, served, client):
        def numbers() -> dict[str, float]:
            connection = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=60)
            try:
                connection.request("GET", "/metrics")
                lines = connection.getresponse().read().decode().splitlines()
            finally:
                connection.close()
            samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            return {name.split("{")[0]: float(value) for name, value in samples}

        before = numbers()
        client.completions.create(model="nano", prompt="hello", max_tokens=7, extra_body={"ignore_eos": True})
        after = numbers()
        assert after["vllm:generation_tokens_total"] - before["vllm:generation_tokens_total"] == 7
        assert after["vllm:num_requests_waiting"] == 0
        assert math.isfinite(after["vllm:num_requests_running"])
