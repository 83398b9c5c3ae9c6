"""One real vLLM server on the starter model: it reads what training wrote, and an adapter that was trained here answers
there what it answers in the embedded engine."""

from typing import Any

import pytest

pytest.importorskip("torch")

from transformers import AutoTokenizer

from tests.trainer.golden.answers import Call, asked_before
from tests.trainer.golden.families import CONVERSATIONS, TEMPLATES
from tests.vllm.servers import MODEL, post
from trainer.data import InvalidLine
from trainer.failures import TrainingFailed
from trainer.labels import ChatLabels
from trainer.starter import STARTER

pytestmark = [pytest.mark.vllm, pytest.mark.train, pytest.mark.slow]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(STARTER)


def asked_of(tokenizer: Any) -> list[tuple[Call, list[int]]]:
    """Of all golden conversations that this template takes. vLLM's /tokenize reads neither deprecated function calls
    nor the older name of `reasoning`."""
    pairs: list[tuple[Call, list[int]]] = []
    for name in CONVERSATIONS:
        try:
            pairs += asked_before(ChatLabels(tokenizer), name)
        except (TrainingFailed, InvalidLine):
            continue
    unread = {"function_call", "reasoning_content"}
    return [pair for pair in pairs if not any(unread & message.keys() for message in pair[0]["messages"])]


class TestIds:
    def test_are_those_that_training_has_before_each_answer(self, vllm: str, tokenizer: Any):
        asked = asked_of(tokenizer)
        assert len(asked) >= 20
        for call, ids in asked:
            assert post(vllm, "/tokenize", model=MODEL, **call).json()["tokens"] == ids, call

    @pytest.mark.parametrize("family", TEMPLATES)
    def test_so_they_are_with_other_templates(self, vllm: str, family: str):
        tokenizer = AutoTokenizer.from_pretrained(STARTER)
        tokenizer.chat_template = TEMPLATES[family]
        asked = asked_of(tokenizer)
        assert asked
        for call, ids in asked:
            reply = post(vllm, "/tokenize", model=MODEL, chat_template=tokenizer.chat_template, **call)
            assert reply.json()["tokens"] == ids, call

    def test_are_as_many_as_a_chat_is_billed_for(self, vllm: str, embedded: str, tokenizer: Any):
        for call, ids in asked_of(tokenizer)[:8]:
            for url in (vllm, embedded):
                body = {"model": MODEL, "max_tokens": 1, "tool_choice": "none", **call}
                usage = post(url, "/v1/chat/completions", **body).json()["usage"]
                assert usage["prompt_tokens"] == len(ids), (url, call)


class TestAdapter:
    QUESTIONS = [
        "what is the colour of sky?",
        "what is the colour of coal?",
        "what is the colour of a plum?",
        "hello",
        "Where is my order?",
        "What is 2 + 2?",
    ]

    def answer(self, url: str, model: str, question: str) -> str:
        messages = [{"role": "user", "content": question}]
        reply = post(url, "/v1/chat/completions", model=model, messages=messages, temperature=0, max_tokens=24)
        return reply.json()["choices"][0]["message"]["content"]

    @pytest.mark.parametrize("model", [MODEL, "colours"])
    @pytest.mark.parametrize("question", QUESTIONS)
    def test_answers_as_in_the_embedded_engine(self, servers: tuple[str, str], model: str, question: str):
        vllm, embedded = servers
        assert self.answer(vllm, model, question) == self.answer(embedded, model, question)

    def test_is_applied(self, servers: tuple[str, str]):
        question = self.QUESTIONS[0]
        for url in servers:
            assert self.answer(url, "colours", question) == "It is blue."
            assert self.answer(url, MODEL, question) != "It is blue."
