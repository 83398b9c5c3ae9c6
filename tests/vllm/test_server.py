"""One real vLLM server on the starter model: it reads what training wrote, and an adapter that was trained here answers
there what it answers in the embedded engine."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("torch")

from transformers import AutoTokenizer

from tests.trainer.golden.answers import Call, asked_before
from tests.trainer.golden.families import CONVERSATIONS, TEMPLATES
from tests.trainer.jobs import COLOUR_CHATS, write_job
from tests.vllm.servers import serving
from trainer.contract import ADAPTER, RESULT, Succeeded, decode_result
from trainer.data import InvalidLine
from trainer.failures import TrainingFailed
from trainer.labels import ChatLabels
from trainer.starter import STARTER

pytestmark = [pytest.mark.vllm, pytest.mark.train, pytest.mark.slow]

MODEL = "starter"
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """In float32, as the embedded engine computes on a CPU."""
    arguments = ["--model", str(STARTER), "--served-model-name", MODEL, "--dtype", "float32"]
    arguments += ["--enable-lora", "--max-lora-rank", "32", "--trust-request-chat-template", "--max-num-seqs", "4"]
    log = tmp_path_factory.mktemp("vllm") / "log"
    environment = {**ONE_THREAD, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    with serving("vllm.entrypoints.openai.api_server", *arguments, log=log, **environment) as url:
        yield url


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    arguments = ["--model", str(STARTER), "--served-model-name", MODEL, "--device", "cpu"]
    with serving("trainer.engine", *arguments, log=tmp_path_factory.mktemp("engine") / "log", **ONE_THREAD) as url:
        yield url


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(STARTER)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on the starter by a trainer's process, in seconds."""
    job = write_job(
        tmp_path_factory.mktemp("jobs") / "job",
        base_model=STARTER,
        training=COLOUR_CHATS,
        n_epochs=10,
        batch_size=4,
    )
    subprocess.run([sys.executable, "-m", "trainer", str(job)], check=True)
    assert isinstance(decode_result((job / RESULT).read_bytes()), Succeeded)
    return job / ADAPTER


@pytest.fixture(scope="module")
def servers(vllm: str, embedded: str, adapter: Path) -> tuple[str, str]:
    for url in (vllm, embedded):
        post(url, "/v1/load_lora_adapter", lora_name="colours", lora_path=str(adapter))
    return vllm, embedded


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


def post(url: str, path: str, **body: Any) -> Any:
    reply = httpx.post(f"{url}{path}", json=body, timeout=120)
    assert reply.is_success, reply.text
    return reply


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
