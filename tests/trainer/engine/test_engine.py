"""Adapters by name and the end of an engine, over HTTP."""

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from openai import OpenAI
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer.engine.wire import PATIENCE, Gate, RawStream, ask, command, load, text_in, unload, until

pytestmark = pytest.mark.train


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
