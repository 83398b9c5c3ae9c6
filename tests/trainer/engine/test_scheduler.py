"""Who runs, who waits, who leaves. A gate in front of the model lets the tests say when it may take a step."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from openai import OpenAI
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer.engine.conftest import RunningEngine

pytestmark = pytest.mark.train

HELLO: Any = [{"role": "user", "content": "hello world"}]
PATIENCE = 60.0


class Gate:
    """The model, taking only as many steps as it is allowed to; it can also be told to fail."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._permits = threading.Semaphore(0)
        self._opened = True
        self._failing = 0
        self.steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, **fields: Any) -> Any:
        if not self._opened:
            self._permits.acquire()
        self.steps += 1
        if self._failing:
            self._failing -= 1
            raise RuntimeError("no memory left")
        return self._model(**fields)

    def close(self) -> None:
        self._permits, self._opened = threading.Semaphore(0), False

    def allow(self, steps: int) -> None:
        self._permits.release(steps)

    def open(self) -> None:
        self._opened = True
        self._permits.release(1000)

    def fail(self, times: int = 1) -> None:
        self._failing = times


@pytest.fixture(scope="module")
def two_at_once(start_engine: Callable[..., RunningEngine]) -> RunningEngine:
    """An engine with two places and a gate in front of its model."""
    running = start_engine(max_concurrency=2)
    running.engine.scheduler._model = Gate(running.engine.scheduler._model)
    return running


@pytest.fixture
def gate(two_at_once: RunningEngine) -> Iterator[Gate]:
    gate = two_at_once.engine.scheduler._model
    yield gate
    gate.open()
    until(lambda: two_at_once.engine.scheduler.running == 0)


@pytest.fixture(scope="module")
def client(two_at_once: RunningEngine) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{two_at_once.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE) as client:
        yield client


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


def until(true: Callable[[], bool], gate: Gate | None = None) -> None:
    """Waits, letting the model take single steps: it takes orders between them."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never became true"
        if gate is not None:
            gate.allow(1)
        time.sleep(0.01)


def ask(client: OpenAI, tokens: int, **fields: Any) -> str:
    answer = client.completions.create(
        **{"model": "nano", "prompt": "hello", "temperature": 0, **fields},
        max_tokens=tokens,
        extra_body={"ignore_eos": True},
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == tokens * fields.get("n", 1)
    return answer.choices[0].text


class RawStream:
    """A streamed completion on a connection of its own, read chunk by chunk."""

    def __init__(self, url: str, model: str = "nano", tokens: int = 150, **fields: Any) -> None:
        body = {"model": model, "prompt": "hello", "temperature": 0, "stream": True, "ignore_eos": True, **fields}
        self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
        self._connection.request("POST", "/v1/completions", json.dumps({**body, "max_tokens": tokens}))

    def start(self) -> "RawStream":
        self._response = self._connection.getresponse()
        assert self._response.status == 200
        self._response.readline()
        return self

    def rest(self) -> bytes:
        try:
            return self._response.read()
        finally:
            self._connection.close()

    def leave(self) -> None:
        self._response.close()
        self._connection.close()


class TestWaiting:
    def test_requests_beyond_the_limit_wait_in_order(self, two_at_once, gate, client, pool):
        gate.close()
        scheduler, ended, asked = two_at_once.engine.scheduler, [], []
        for name in range(5):
            before = scheduler.running + scheduler.waiting
            answer: Future[str] = pool.submit(ask, client, 200)
            answer.add_done_callback(lambda _, name=name: ended.append(name))
            asked.append(answer)
            until(lambda before=before: scheduler.running + scheduler.waiting == before + 1, gate)
        assert (scheduler.running, scheduler.waiting) == (2, 3)
        gate.open()
        assert len({answer.result(PATIENCE) for answer in asked}) == 1
        assert set(ended[:2]) == {0, 1}
        assert ended[4] in (3, 4)

    def test_more_choices_than_places_are_written_alone(self, two_at_once, gate, client):
        assert ask(client, 3, n=5) == ask(client, 3)

    def test_a_short_answer_does_not_wait_for_a_long_one(self, two_at_once, gate, client, pool):
        gate.close()
        long = pool.submit(ask, client, 200)
        gate.allow(3)
        short = pool.submit(ask, client, 3)
        until(short.done, gate)
        assert not long.done()
        gate.open()
        assert long.result(PATIENCE)

    def test_health_answers_while_the_model_is_busy(self, two_at_once, gate, client, pool):
        gate.close()
        answer = pool.submit(ask, client, 3)
        until(lambda: two_at_once.engine.scheduler.running == 1)
        connection = http.client.HTTPConnection(two_at_once.url.removeprefix("http://"), timeout=PATIENCE)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        gate.open()
        assert answer.result(PATIENCE)


class TestLeaving:
    @pytest.mark.parametrize("streamed", [True, False], ids=["streaming", "whole"])
    def test_a_client_that_leaves_frees_its_places(self, two_at_once, gate, client, pool, streamed):
        scheduler = two_at_once.engine.scheduler
        gate.close()
        leaver = RawStream(two_at_once.url, tokens=200, n=2, stream=streamed)
        if streamed:
            gate.allow(10)
            leaver.start()
        until(lambda: scheduler.running == 2)
        waiting = pool.submit(ask, client, 5)
        until(lambda: scheduler.waiting == 1, gate)
        if streamed:
            leaver.leave()
        else:
            leaver._connection.close()
        before = gate.steps
        until(waiting.done, gate)
        assert waiting.result()
        assert gate.steps - before < 100
        until(lambda: scheduler.running == 0)

    def test_one_that_leaves_the_line_is_never_read(self, two_at_once, gate, client, pool):
        scheduler = two_at_once.engine.scheduler
        gate.close()
        running = [pool.submit(ask, client, 200) for _ in range(2)]
        until(lambda: scheduler.running == 2, gate)
        leaver = RawStream(two_at_once.url)
        until(lambda: scheduler.waiting == 1, gate)
        leaver._connection.close()
        until(lambda: scheduler.waiting == 0, gate)
        assert scheduler.running == 2
        read = scheduler.prompt_tokens
        gate.open()
        assert all(answer.result(PATIENCE) for answer in running)
        until(lambda: scheduler.running == 0)
        assert scheduler.prompt_tokens == read

    def test_the_others_do_not_notice(self, two_at_once, gate, client, pool):
        expected = ask(client, 60)
        gate.close()
        leaver = RawStream(two_at_once.url, prompt="the sky says one two three")
        stayer = pool.submit(ask, client, 60)
        gate.allow(20)
        leaver.start().leave()
        gate.open()
        assert stayer.result(PATIENCE) == expected


class TestTogether:
    def test_greedy_answers_are_those_of_each_alone(self, served, pool):
        with OpenAI(base_url=f"{served.url}/v1", api_key="none", timeout=PATIENCE) as client:
            prompts = [("hello " * length).strip() for length in range(1, 40, 2)]
            alone = [ask(client, 40, prompt=prompt) for prompt in prompts]
            together = list(pool.map(lambda prompt: ask(client, 40, prompt=prompt), prompts))
        assert together == alone

    def test_seeded_answers_do_not_depend_on_the_others(self, served, pool):
        with OpenAI(base_url=f"{served.url}/v1", api_key="none", timeout=PATIENCE) as client:
            fields: Any = {"temperature": 1, "top_p": 0.9}
            alone = [ask(client, 40, seed=seed, **fields) for seed in range(12)]
            together = list(pool.map(lambda seed: ask(client, 40, seed=seed, **fields), range(12)))
        assert len(set(alone)) == 12
        assert together == alone


class TestFailing:
    def test_before_the_first_token_it_is_an_http_error(self, two_at_once, gate, client):
        gate.fail()
        with pytest.raises(openai.InternalServerError) as caught:
            client.completions.create(model="nano", prompt="hello", stream=True)
        assert caught.value.body["message"] == "The engine failed to answer: no memory left"
        assert ask(client, 3)

    def test_after_it_it_is_a_frame(self, two_at_once, gate, client):
        gate.close()
        stream = RawStream(two_at_once.url)
        gate.allow(10)
        stream.start()
        gate.fail()
        gate.open()
        *_, last, empty = stream.rest().split(b"\n\n")
        assert empty == b""
        assert json.loads(last.strip().removeprefix(b"data: "))["error"]["type"] == "server_error"
        assert ask(client, 3)


class TestDraining:
    def test_what_is_left_ends_with_an_error_and_nothing_new_begins(self, start_engine):
        running = start_engine()
        gate = running.engine.scheduler._model = Gate(running.engine.scheduler._model)
        gate.close()
        stream = RawStream(running.url)
        gate.allow(10)
        stream.start()
        asyncio.run_coroutine_threadsafe(running.engine.drain(0.01), running.loop).result(PATIENCE)
        frames = stream.rest().strip().split(b"\n\n")
        assert json.loads(frames[-1].removeprefix(b"data: "))["error"]["message"] == "The engine is shutting down."
        status, _ = command(running.url, "/v1/completions", model="nano", prompt="hello")
        assert status == 503
        gate.open()

    def test_with_nothing_open_it_takes_no_time(self, start_engine):
        running = start_engine()
        asyncio.run_coroutine_threadsafe(running.engine.drain(3600), running.loop).result(PATIENCE)


@pytest.fixture(scope="module")
def peft_writes(nano_model: Path):
    """What PeftModel's own generate writes: the text of `ask`."""
    tokenizer = AutoTokenizer.from_pretrained(nano_model)

    def write(adapter: Path | None, count: int) -> str:
        model: Any = AutoModelForCausalLM.from_pretrained(nano_model)
        if adapter is not None:
            model = PeftModel.from_pretrained(model, adapter)
        model.eval().generation_config.eos_token_id = None
        ids = tokenizer("hello", return_tensors="pt").input_ids
        settings = {"do_sample": False, "max_new_tokens": count, "pad_token_id": 0}
        written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
        text = tokenizer.decode(written[0], skip_special_tokens=True)
        return text.removeprefix("hello").rstrip("\ufffd")

    return write


def command(url: str, path: str, **body: Any) -> tuple[int, str]:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def load(url: str, name: str, path: Path | str, **more: Any) -> tuple[int, str]:
    return command(url, "/v1/load_lora_adapter", lora_name=name, lora_path=str(path), **more)


def unload(url: str, name: str) -> tuple[int, str]:
    return command(url, "/v1/unload_lora_adapter", lora_name=name)


def text_in(raw: bytes) -> str:
    frames = [json.loads(frame[6:]) for frame in raw.split(b"\n\n") if frame.startswith(b"data: {")]
    return "".join(frame["choices"][0]["text"] for frame in frames)


NAME = "ft:nano-1.5:org::abc"


class TestAdapters:
    @pytest.fixture(autouse=True)
    def forget(self, two_at_once, gate) -> Iterator[None]:
        yield
        gate.open()
        for name in list(two_at_once.engine.adapters):
            unload(two_at_once.url, name)

    def test_loaded_used_and_unloaded(self, two_at_once, client, adapter_a, nano_model, peft_writes):
        base = ask(client, 40)
        status, text = load(two_at_once.url, NAME, adapter_a)
        assert (status, text) == (200, f"Success: LoRA adapter '{NAME}' added successfully.")
        _, card = client.models.list().data
        assert (card.id, card.to_dict()["parent"], card.to_dict()["root"]) == (NAME, "nano", str(adapter_a))
        assert ask(client, 40, model=NAME) == peft_writes(adapter_a, 40)
        assert ask(client, 40) == base == peft_writes(None, 40)
        status, text = unload(two_at_once.url, NAME)
        assert (status, text) == (200, f"Success: LoRA adapter '{NAME}' removed successfully.")
        with pytest.raises(openai.NotFoundError):
            ask(client, 1, model=NAME)

    def test_refusals_are_vllms(self, two_at_once, adapter_a, tmp_path):
        url = two_at_once.url

        def refused(answer: tuple[int, str]) -> tuple[int, str, str]:
            error = json.loads(answer[1])["error"]
            assert (error["code"], error["param"]) == (answer[0], None)
            return answer[0], error["type"], error["message"]

        assert refused(load(url, "", "")) == (
            400,
            "InvalidUserInput",
            "Both 'lora_name' and 'lora_path' must be provided.",
        )
        assert refused(load(url, "nano", adapter_a))[:2] == (400, "InvalidUserInput")
        assert refused(load(url, "x", tmp_path / "none"))[:2] == (404, "NotFoundError")
        assert refused(unload(url, "x")) == (404, "NotFoundError", "The lora adapter 'x' cannot be found.")
        assert refused(unload(url, ""))[0] == 400
        assert refused(load(url, "x", tmp_path))[:2] == (500, "InternalServerError")
        assert load(url, "x", adapter_a)[0] == 200
        status, kind, message = refused(load(url, "x", adapter_a))
        assert (status, kind) == (400, "InvalidUserInput")
        assert message.startswith("The lora adapter 'x' has already been loaded.")

    def test_a_name_may_be_loaded_anew(self, two_at_once, client, adapter_a, adapter_b, peft_writes):
        assert load(two_at_once.url, "x", adapter_a)[0] == 200
        assert load(two_at_once.url, "x", adapter_b, load_inplace=True)[0] == 200
        assert ask(client, 20, model="x") == peft_writes(adapter_b, 20)
        unload(two_at_once.url, "x")
        assert load(two_at_once.url, "x", adapter_a)[0] == 200
        assert ask(client, 20, model="x") == peft_writes(adapter_a, 20)

    def test_adapters_come_and_go_while_others_stream(
        self, two_at_once, gate, client, adapter_a, adapter_b, peft_writes
    ):
        url, peft = two_at_once.url, two_at_once.engine.scheduler._adapters
        load(url, "a", adapter_a)
        gate.close()
        streams = [RawStream(url, model, tokens=100) for model in ("nano", "a")]
        gate.allow(20)
        for stream in streams:
            stream.start()
        loading = threading.Thread(target=load, args=(url, "b", adapter_b))
        loading.start()
        unloading = threading.Thread(target=unload, args=(url, "a"))
        unloading.start()
        until(lambda: not loading.is_alive() and not unloading.is_alive(), gate)
        assert [card.id for card in client.models.list().data] == ["nano", "b"]
        assert len(peft._peft.peft_config) == 2  # the one that is still in use has stayed
        gate.open()
        texts = [text_in(stream.rest()) for stream in streams]
        # The first frame was read by start().
        for text, adapter in zip(texts, (None, adapter_a), strict=True):
            assert peft_writes(adapter, 100).endswith(text)
            assert len(text) > 50
        until(lambda: len(peft._peft.peft_config) == 1)
        assert ask(client, 20, model="b") == peft_writes(adapter_b, 20)

    def test_a_caller_that_leaves_gets_its_adapter_all_the_same(self, two_at_once, gate, client, adapter_a, pool):
        gate.close()
        answer = pool.submit(ask, client, 200)
        until(lambda: two_at_once.engine.scheduler.running == 1)
        connection = http.client.HTTPConnection(two_at_once.url.removeprefix("http://"), timeout=PATIENCE)
        connection.request("POST", "/v1/load_lora_adapter", json.dumps({"lora_name": "x", "lora_path": str(adapter_a)}))
        until(lambda: "x" in two_at_once.engine._loading)
        connection.close()
        until(lambda: "x" in two_at_once.engine.adapters, gate)
        gate.open()
        assert answer.result(PATIENCE)
        assert ask(client, 3, model="x")

    def test_base_and_adapters_at_once(self, served, pool, adapter_a, adapter_b, peft_writes):
        load(served.url, "a", adapter_a)
        load(served.url, "b", adapter_b)
        try:
            with OpenAI(base_url=f"{served.url}/v1", api_key="none", timeout=PATIENCE) as client:
                answers = list(pool.map(lambda model: ask(client, 50, model=model), ["nano", "a", "b"] * 4))
        finally:
            unload(served.url, "a")
            unload(served.url, "b")
        assert answers == [peft_writes(adapter, 50) for adapter in (None, adapter_a, adapter_b)] * 4
