"""Weights that leave the memory and come back, over HTTP; the statuses and bodies are vLLM's."""

import http.client
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from openai import OpenAI
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from tests.trainer.engine.wire import HELLO, PATIENCE, Gate, RawStream, RunningEngine, ask, load, unload, until
from trainer.engine import sleeping
from trainer.engine.sleeping import State

pytestmark = pytest.mark.train


@pytest.fixture
def running(start_engine: Callable[..., RunningEngine], nano_model: Path) -> RunningEngine:
    """Awake, with a gate in front of its model until it sleeps."""
    running = start_engine(max_concurrency=4)
    running.engine.scheduler._model = Gate(running.engine.scheduler._model)
    return running


@pytest.fixture
def gate(running: RunningEngine) -> Iterator[Gate]:
    gate = running.engine.scheduler._model
    yield gate
    gate.open()


@pytest.fixture
def client(running: RunningEngine) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE) as client:
        yield client


def call(running: RunningEngine, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
    """(status, body, headers)"""
    connection = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=PATIENCE)
    with closing(connection):
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        raw = response.read()
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return response.status, json.loads(raw) if is_json else raw, response.headers


def sleep(running: RunningEngine, query: str = "?level=1&mode=wait") -> tuple[int, Any]:
    return call(running, "POST", f"/sleep{query}")[:2]


def wake(running: RunningEngine, query: str = "") -> tuple[int, Any]:
    return call(running, "POST", f"/wake_up{query}")[:2]


def is_sleeping(running: RunningEngine) -> Any:
    return call(running, "GET", "/is_sleeping")[1]


def state(running: RunningEngine) -> State:
    return running.engine.sleep.state


def numbers_in(running: RunningEngine) -> int:
    """Of the weights in memory."""
    models = [weights.loaded.model for weights in running.engine.models]
    return sum(tensor.numel() for model in models for tensor in (*model.parameters(), *model.buffers()))


SLEEPING = (200, {"status": "sleeping", "level": 1})
AWAKE = (200, {"status": "awake", "tags": None})
QUESTION = {"model": "nano", "prompt": "hello", "max_tokens": 3}


class TestSleep:
    def test_the_weights_are_gone_and_the_names_stay(self, running: RunningEngine, adapter_a: Path) -> None:
        load(running.url, "one", adapter_a)
        known = call(running, "GET", "/v1/models")[1]
        assert numbers_in(running) > 0
        assert sleep(running) == SLEEPING
        assert is_sleeping(running) == {"is_sleeping": True}
        assert numbers_in(running) == 0
        assert call(running, "GET", "/v1/models")[1] == known
        assert call(running, "GET", "/health")[0] == 200

    def test_calls_are_told_to_come_again(self, running: RunningEngine, adapter_a: Path) -> None:
        load(running.url, "one", adapter_a)
        sleep(running)
        chat = {"model": "one", "messages": HELLO, "stream": True}
        for path, body in (("/v1/completions", QUESTION), ("/v1/chat/completions", chat)):
            status, answer, headers = call(running, "POST", path, body)
            assert (status, headers["Retry-After"]) == (503, "5")
            assert answer["error"]["code"] == "engine_asleep"
            assert "asleep" in answer["error"]["message"]
        assert call(running, "POST", "/v1/completions", {**QUESTION, "model": "unknown"})[0] == 404

    def test_nothing_is_loaded_or_unloaded_meanwhile(self, running: RunningEngine, adapter_a: Path) -> None:
        load(running.url, "one", adapter_a)
        sleep(running)
        assert load(running.url, "two", adapter_a)[0] == 503
        assert unload(running.url, "one")[0] == 503
        assert [card["id"] for card in call(running, "GET", "/v1/models")[1]["data"]] == ["nano", "one"]

    def test_what_needs_no_weights_is_answered(self, running: RunningEngine) -> None:
        asked = {"model": "nano", "prompt": "hello world"}
        before = call(running, "POST", "/tokenize", asked)[1]
        sleep(running)
        assert call(running, "POST", "/tokenize", asked)[1] == before
        assert b"vllm:num_requests_running" in call(running, "GET", "/metrics")[1]

    @pytest.mark.parametrize("query", ["", "?level=1", "?level=1&mode=abort", "?level=1&mode=wait"])
    def test_vllms_defaults(self, running: RunningEngine, query: str) -> None:
        assert sleep(running, query) == SLEEPING

    def test_level_2_is_the_same(self, running: RunningEngine, client: OpenAI) -> None:
        assert sleep(running, "?level=2") == (200, {"status": "sleeping", "level": 2})
        assert wake(running) == AWAKE
        ask(client, 3)

    @pytest.mark.parametrize(
        ("query", "name"),
        [
            ("?level=3", "level"),
            ("?level=x", "level"),
            ("?level=0", "level"),
            ("?mode=keep", "mode"),
            ("?mode=", "mode"),
        ],
    )
    def test_anything_else_is_refused(self, running: RunningEngine, query: str, name: str) -> None:
        status, body = sleep(running, query)
        assert (status, body["error"]["type"], body["error"]["param"]) == (400, "Bad Request", f"query.{name}")
        assert is_sleeping(running) == {"is_sleeping": False}


class TestUnderWay:
    def test_wait_lets_them_end_and_takes_no_new_ones(
        self, running: RunningEngine, gate: Gate, pool: ThreadPoolExecutor
    ) -> None:
        stream = RawStream(running.url, tokens=40).start()
        gate.close()
        falling = pool.submit(sleep, running)
        until(lambda: state(running) is State.FALLING_ASLEEP)
        assert is_sleeping(running) == {"is_sleeping": True}
        assert call(running, "POST", "/v1/completions", QUESTION)[0] == 503
        assert numbers_in(running) > 0
        assert not falling.done()
        gate.open()
        rest = stream.rest()
        assert b'"finish_reason":"length"' in rest
        assert b"[DONE]" in rest
        assert falling.result(PATIENCE) == SLEEPING
        assert numbers_in(running) == 0

    def test_abort_ends_them(self, running: RunningEngine, gate: Gate, pool: ThreadPoolExecutor) -> None:
        stream = RawStream(running.url, tokens=200).start()
        gate.close()
        waiting = pool.submit(call, running, "POST", "/v1/completions", QUESTION)
        until(lambda: running.engine.scheduler.running == 2, gate)
        falling = pool.submit(sleep, running, "?mode=abort")
        assert b'"code":"engine_asleep"' in stream.rest()
        status, body, _ = waiting.result(PATIENCE)
        assert (status, body["error"]["code"]) == (503, "engine_asleep")
        gate.open()
        assert falling.result(PATIENCE) == SLEEPING

    def test_abort_hurries_one_that_waits(self, running: RunningEngine, gate: Gate, pool: ThreadPoolExecutor) -> None:
        stream = RawStream(running.url, tokens=200).start()
        gate.close()
        patient = pool.submit(sleep, running)
        until(lambda: state(running) is State.FALLING_ASLEEP)
        hasty = pool.submit(sleep, running, "?mode=abort")
        assert b'"code":"engine_asleep"' in stream.rest()
        gate.open()
        assert patient.result(PATIENCE) == hasty.result(PATIENCE) == SLEEPING

    def test_a_load_is_waited_for_and_comes_back(
        self, running: RunningEngine, gate: Gate, pool: ThreadPoolExecutor, client: OpenAI, adapter_a: Path
    ) -> None:
        stream = RawStream(running.url, tokens=20).start()
        gate.close()
        loading = pool.submit(load, running.url, "one", adapter_a)
        until(lambda: "one" in running.engine._loading)
        falling = pool.submit(sleep, running)
        until(lambda: state(running) is State.FALLING_ASLEEP)
        gate.open()
        assert loading.result(PATIENCE)[0] == 200
        assert falling.result(PATIENCE) == SLEEPING
        assert b"[DONE]" in stream.rest()
        assert wake(running) == AWAKE
        ask(client, 3, model="one")

    def test_a_caller_that_leaves_has_given_its_order_all_the_same(self, running: RunningEngine, gate: Gate) -> None:
        stream = RawStream(running.url, tokens=40).start()
        gate.close()
        leaving = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=PATIENCE)
        leaving.request("POST", "/sleep?mode=wait")
        until(lambda: state(running) is State.FALLING_ASLEEP)
        leaving.close()
        gate.open()
        assert b"[DONE]" in stream.rest()
        until(lambda: state(running) is State.ASLEEP)


class TestWakeUp:
    def test_answers_are_what_they_were(
        self, running: RunningEngine, client: OpenAI, adapter_a: Path, adapter_b: Path
    ) -> None:
        for name, path in (("one", adapter_a), ("two", adapter_b)):
            load(running.url, name, path)
        names = ("nano", "one", "two")
        before = [ask(client, 20, model=name) for name in names]
        cards = call(running, "GET", "/v1/models")[1]
        for _ in range(2):
            assert sleep(running) == SLEEPING
            assert wake(running) == AWAKE
            assert is_sleeping(running) == {"is_sleeping": False}
            assert [ask(client, 20, model=name) for name in names] == before
            assert call(running, "GET", "/v1/models")[1] == cards
        assert len(set(before)) == 3

    def test_models_beside_the_base_come_back_too(
        self, running: RunningEngine, client: OpenAI, nano_model: Path, tmp_path: Path
    ) -> None:
        full = Path(shutil.copytree(nano_model, tmp_path / "full"))
        model: Any = AutoModelForCausalLM.from_pretrained(nano_model)
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
        model.save_pretrained(full)
        load(running.url, "full", full)
        before = [ask(client, 20, model=name) for name in ("nano", "full")]
        assert before[0] != before[1]
        sleep(running)
        assert numbers_in(running) == 0
        assert wake(running) == AWAKE
        assert [ask(client, 20, model=name) for name in ("nano", "full")] == before

    def test_what_is_gone_from_the_disk_has_lost_its_name(
        self, running: RunningEngine, client: OpenAI, nano_model: Path, adapter_a: Path, tmp_path: Path
    ) -> None:
        """So that whoever watches the engine sees it, and can load it anew."""
        gone, full = shutil.copytree(adapter_a, tmp_path / "gone"), shutil.copytree(nano_model, tmp_path / "full")
        for name, path in (("kept", adapter_a), ("gone", gone), ("full", full)):
            assert load(running.url, name, path)[0] == 200
        sleep(running)
        shutil.rmtree(gone)
        shutil.rmtree(full)
        assert wake(running) == AWAKE
        assert [card["id"] for card in call(running, "GET", "/v1/models")[1]["data"]] == ["nano", "kept"]
        ask(client, 3, model="kept")
        assert load(running.url, "gone", adapter_a)[0] == 200

    def test_without_the_base_it_sleeps_on(
        self, start_engine: Callable[..., RunningEngine], nano_model: Path, tmp_path: Path
    ) -> None:
        moved = Path(shutil.copytree(nano_model, tmp_path / "model"))
        running = start_engine(model=moved)
        sleep(running)
        moved.rename(tmp_path / "elsewhere")
        status, body = wake(running)
        assert (status, body["error"]["type"]) == (500, "server_error")
        assert is_sleeping(running) == {"is_sleeping": True}
        assert call(running, "POST", "/v1/completions", QUESTION)[0] == 503
        (tmp_path / "elsewhere").rename(moved)
        assert wake(running) == AWAKE
        assert call(running, "POST", "/v1/completions", QUESTION)[0] == 200

    def test_counts_go_on(self, running: RunningEngine, client: OpenAI) -> None:
        ask(client, 5)
        sleep(running)
        wake(running)
        ask(client, 4)
        assert b'vllm:generation_tokens_total{model_name="nano"} 9\n' in call(running, "GET", "/metrics")[1]

    def test_limits_stay(self, start_engine: Callable[..., RunningEngine]) -> None:
        running = start_engine(max_concurrency=2, max_model_len=100)
        sleep(running)
        wake(running)
        assert running.engine.scheduler.max_concurrency == 2
        assert call(running, "GET", "/v1/models")[1]["data"][0]["max_model_len"] == 100

    def test_tags_other_than_weights_wake_nothing(self, running: RunningEngine) -> None:
        sleep(running)
        assert wake(running, "?tags=kv_cache") == (200, {"status": "sleeping", "tags": ["kv_cache"]})
        assert is_sleeping(running) == {"is_sleeping": True}
        tags = ["weights", "kv_cache"]
        assert wake(running, "?tags=weights&tags=kv_cache") == (200, {"status": "awake", "tags": tags})


class TestOrders:
    def test_what_is_the_case_already_is_done(self, running: RunningEngine, client: OpenAI) -> None:
        assert wake(running) == AWAKE
        assert sleep(running) == sleep(running) == SLEEPING
        assert wake(running) == wake(running) == AWAKE
        ask(client, 3)

    def test_waking_waits_until_it_sleeps(
        self, running: RunningEngine, gate: Gate, pool: ThreadPoolExecutor, client: OpenAI
    ) -> None:
        stream = RawStream(running.url, tokens=20).start()
        gate.close()
        falling = pool.submit(sleep, running)
        until(lambda: state(running) is State.FALLING_ASLEEP)
        waking = pool.submit(wake, running)
        gate.open()
        assert b"[DONE]" in stream.rest()
        assert (falling.result(PATIENCE), waking.result(PATIENCE)) == (SLEEPING, AWAKE)
        ask(client, 3)

    def test_many_at_once_end_with_the_last(self, running: RunningEngine, pool: ThreadPoolExecutor) -> None:
        """Whatever comes between them: answers are whole or told to come again, and the engine works afterwards."""
        orders: list[Future[tuple[int, Any]]] = []
        calls = []
        for at in range(6):
            orders.append(pool.submit(wake if at % 2 else sleep, running))
            calls += [pool.submit(call, running, "POST", "/v1/completions", QUESTION) for _ in range(2)]
        assert all(order.result(PATIENCE)[0] == 200 for order in orders)
        assert {one.result(PATIENCE)[0] for one in calls} <= {200, 503}
        assert wake(running) == AWAKE
        assert call(running, "POST", "/v1/completions", QUESTION)[0] == 200

    def test_while_it_wakes_calls_are_told_to_come_again(
        self, running: RunningEngine, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate = Gate(sleeping.load)
        gate.close()
        monkeypatch.setattr(sleeping, "load", lambda path, **fields: gate(path=path, **fields))
        sleep(running)
        waking = pool.submit(wake, running)
        until(lambda: state(running) is State.WAKING_UP)
        assert is_sleeping(running) == {"is_sleeping": True}
        assert call(running, "POST", "/v1/completions", QUESTION)[0] == 503
        again = pool.submit(sleep, running)
        gate.open()
        assert (waking.result(PATIENCE), again.result(PATIENCE)) == (AWAKE, SLEEPING)


MIB = 2**20


@pytest.fixture(scope="module")
def large_model(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 110 MiB: much more than all else that an engine needs for an answer."""
    path = tmp_path_factory.mktemp("large")
    tokenizer: Any = AutoTokenizer.from_pretrained(nano_model)
    sizes: Any = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 4, "num_attention_heads": 12}
    config = Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=12, max_position_embeddings=64, **sizes)
    Qwen2ForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


class TestMemory:
    def test_of_the_process_shrinks_by_the_weights(self, large_model: Path) -> None:
        status = Path("/proc/self/status")
        if not status.exists():
            pytest.skip("no /proc here")
        weights = (large_model / "model.safetensors").stat().st_size
        assert weights > 100 * MIB
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "trainer.engine", "--model", str(large_model), "--device", "cpu"]
        with subprocess.Popen([*command, "--port", str(port), "--served-model-name", "nano"]) as process:
            running: Any = SimpleNamespace(url=f"http://127.0.0.1:{port}")

            def answers() -> bool:
                assert process.poll() is None
                with suppress(ConnectionError):
                    return call(running, "GET", "/health")[0] == 200
                return False

            def resident() -> int:
                lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
                return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))

            try:
                until(answers)
                for _ in range(2):
                    assert call(running, "POST", "/v1/completions", QUESTION)[0] == 200
                    awake = resident()
                    assert sleep(running) == SLEEPING
                    assert awake - resident() > 0.9 * weights
                    assert wake(running) == AWAKE
            finally:
                process.terminate()
