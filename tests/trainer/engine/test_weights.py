"""Models beside the base: weights of their own, made by a training of all of them."""

import gc
import http.client
import json
import shutil
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from openai import OpenAI
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer.engine.wire import (
    CONTEXT,
    PATIENCE,
    Gate,
    RawStream,
    RunningEngine,
    ask,
    error_of,
    load,
    unload,
    until,
)
from trainer.engine import weights

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def make_full(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A directory as a training of all weights leaves it: other weights, the same tokenizer."""

    def make(seed: int, **config: Any) -> Path:
        directory = Path(shutil.copytree(nano_model, tmp_path_factory.mktemp("full") / "model"))
        model: Any = AutoModelForCausalLM.from_pretrained(nano_model)
        torch.manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.02)
        model.save_pretrained(directory)
        written = json.loads((directory / "config.json").read_text())
        (directory / "config.json").write_text(json.dumps({**written, **config}))
        return directory

    return make


@pytest.fixture(scope="module")
def full(make_full: Callable[..., Path]) -> Path:
    return make_full(1)


@pytest.fixture(scope="module")
def running(start_engine: Callable[..., RunningEngine]) -> RunningEngine:
    return start_engine(max_models=2)


@pytest.fixture(autouse=True)
def emptied(running: RunningEngine) -> Iterator[None]:
    yield
    for name in [*running.engine.adapters, *running.engine.further.by_name]:
        unload(running.url, name)


@pytest.fixture
def client(running: RunningEngine) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{running.url}/v1", api_key="none", max_retries=0, timeout=PATIENCE) as client:
        yield client


def alone(directory: Path, tokens: int) -> str:
    """What transformers writes after "hello" with these weights; a character that is cut at the end left out."""
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    model: Any = AutoModelForCausalLM.from_pretrained(directory).eval()
    model.generation_config.eos_token_id = None
    ids = tokenizer("hello", return_tensors="pt").input_ids
    settings = {"do_sample": False, "max_new_tokens": tokens, "pad_token_id": 0}
    written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), **settings)
    return tokenizer.decode(written[0], skip_special_tokens=True).removeprefix("hello").rstrip("\ufffd")


class TestLoad:
    def test_answers_with_its_own_weights_beside_the_base(
        self, running: RunningEngine, client: OpenAI, full: Path, nano_model: Path
    ) -> None:
        status, text = load(running.url, "ft:nano:x::1", full)
        assert status == 200, text
        written = {name: ask(client, 40, model=name).rstrip("\ufffd") for name in ("ft:nano:x::1", "nano")}
        assert written == {"ft:nano:x::1": alone(full, 40), "nano": alone(nano_model, 40)}
        assert alone(full, 40) != alone(nano_model, 40)

    def test_chats_streams_and_tokenizes_by_its_name(self, running: RunningEngine, client: OpenAI, full: Path) -> None:
        load(running.url, "further", full)
        messages: Any = [{"role": "user", "content": "hello world"}]
        whole = client.chat.completions.create(model="further", messages=messages, temperature=0, max_tokens=12)
        chunks = client.chat.completions.create(
            model="further", messages=messages, temperature=0, max_tokens=12, stream=True
        )
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
        assert whole.model == "further"
        assert command_json(running, "/tokenize", {"model": "further", "prompt": "hello"})["max_model_len"] == CONTEXT

    def test_is_listed_without_a_parent(
        self, running: RunningEngine, client: OpenAI, full: Path, adapter_a: Path
    ) -> None:
        load(running.url, "further", full)
        load(running.url, "adapter", adapter_a)
        cards: list[Any] = list(client.models.list())
        assert [(card.id, card.parent, card.root) for card in cards[1:]] == [
            ("adapter", "nano", str(adapter_a)),
            ("further", None, str(full)),
        ]

    def test_is_measured_under_its_own_name(self, running: RunningEngine, client: OpenAI, full: Path) -> None:
        load(running.url, "further", full)
        ask(client, 5, model="further")
        assert 'vllm:generation_tokens_total{model_name="further"} 5\n' in metrics(running)

    def test_both_write_at_once(self, running: RunningEngine, client: OpenAI, full: Path, nano_model: Path) -> None:
        load(running.url, "further", full)
        with ThreadPoolExecutor(2) as pool:
            texts = list(pool.map(lambda name: ask(client, 60, model=name).rstrip("\ufffd"), ("nano", "further")))
        assert texts == [alone(nano_model, 60), alone(full, 60)]

    def test_longer_context_than_the_bases_is_not_promised(
        self, running: RunningEngine, client: OpenAI, make_full: Callable[..., Path]
    ) -> None:
        load(running.url, "long", make_full(2, max_position_embeddings=2 * CONTEXT))
        load(running.url, "short", make_full(3, max_position_embeddings=CONTEXT // 2))
        lengths: dict[str, int] = {card.id: card.max_model_len for card in list(client.models.list())}  # type: ignore[attr-defined]
        assert (lengths["long"], lengths["short"]) == (CONTEXT, CONTEXT // 2)

    def test_takes_the_place_of_an_adapter(
        self, running: RunningEngine, client: OpenAI, full: Path, adapter_a: Path
    ) -> None:
        """Otherwise the adapter would go on answering to the name."""
        load(running.url, "one", adapter_a)
        assert load(running.url, "one", full, load_inplace=True)[0] == 200
        assert [model.id for model in client.models.list()].count("one") == 1
        assert ask(client, 40, model="one").rstrip("\ufffd") == alone(full, 40)
        assert unload(running.url, "one")[0] == 200
        assert error_of(running, "/v1/completions", {"model": "one", "prompt": "x"})[0] == 404


class TestRefused:
    def test_more_than_there_is_room_for(
        self, running: RunningEngine, client: OpenAI, full: Path, make_full: Callable[..., Path]
    ) -> None:
        load(running.url, "one", full)
        load(running.url, "two", full)
        body = {"lora_name": "three", "lora_path": str(full)}
        status, error = error_of(running, "/v1/load_lora_adapter", body)
        assert status == 400
        assert "at most 2 models with weights of their own (--max-models)" in error["message"]
        unload(running.url, "one")
        assert load(running.url, "three", full)[0] == 200
        ask(client, 3, model="three")

    def test_twice_says_so_as_for_adapters(self, running: RunningEngine, full: Path) -> None:
        load(running.url, "one", full)
        status, error = error_of(running, "/v1/load_lora_adapter", {"lora_name": "one", "lora_path": str(full)})
        assert status == 400
        assert "has already been loaded" in error["message"]

    @pytest.mark.parametrize("damage", ["no weights", "half the weights", "no tokenizer", "unknown", "mamba"])
    def test_what_cannot_be_a_model_leaves_the_engine_as_it_was(
        self, running: RunningEngine, client: OpenAI, make_full: Callable[..., Path], damage: str
    ) -> None:
        config = {"unknown": {"model_type": "martian"}, "mamba": {"model_type": "mamba"}}.get(damage, {})
        directory = make_full(4, **config)
        if damage == "no weights":
            (directory / "model.safetensors").unlink()
        if damage == "half the weights":
            weights = (directory / "model.safetensors").read_bytes()
            (directory / "model.safetensors").write_bytes(weights[: len(weights) // 2])
        if damage == "no tokenizer":
            for path in directory.glob("tokenizer*"):
                path.unlink()
        status, error = error_of(running, "/v1/load_lora_adapter", {"lora_name": "x", "lora_path": str(directory)})
        assert status == 400, error
        assert error["message"].startswith("Loading x failed: ")
        assert running.engine.further.by_name == {}
        assert running.engine.further._loading == 0
        ask(client, 3)


class TestUnload:
    def test_is_gone_at_once_and_its_memory_too(self, running: RunningEngine, full: Path) -> None:
        load(running.url, "further", full)
        model = weakref.ref(running.engine.further.by_name["further"].loaded.model)
        thread = running.engine.further.by_name["further"].scheduler._thread
        assert unload(running.url, "further")[0] == 200
        assert error_of(running, "/v1/completions", {"model": "further", "prompt": "x"})[0] == 404
        assert unload(running.url, "further")[0] == 404
        until(lambda: not thread.is_alive())
        until(lambda: gc.collect() >= 0 and model() is None)
        assert health(running) == 200

    def test_its_tensors_are_gone_before_the_device_is_told_to_let_go(
        self, running: RunningEngine, full: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """However long something names the model."""
        load(running.url, "further", full)
        model = running.engine.further.by_name["further"].loaded.model
        assert sum(parameter.numel() for parameter in model.parameters()) > 0
        left: list[int] = []
        monkeypatch.setattr(
            weights,
            "free_memory",
            lambda: left.append(sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))),
        )
        unload(running.url, "further")
        until(lambda: left == [0])

    def test_an_answer_that_is_being_written_is_written_to_its_end(self, running: RunningEngine, full: Path) -> None:
        load(running.url, "further", full)
        scheduler = running.engine.further.by_name["further"].scheduler
        gate = scheduler._model = Gate(scheduler._model)
        stream = RawStream(running.url, "further", tokens=40).start()
        gate.close()
        assert unload(running.url, "further")[0] == 200
        assert scheduler.alive
        gate.open()
        assert b"[DONE]" in (rest := stream.rest())
        assert b'"finish_reason":"length"' in rest
        until(lambda: not scheduler.alive)


def metrics(running: RunningEngine) -> str:
    return get(running, "/metrics")[1]


def health(running: RunningEngine) -> int:
    return get(running, "/health")[0]


def get(running: RunningEngine, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def command_json(running: RunningEngine, path: str, body: Any) -> Any:
    connection = http.client.HTTPConnection(running.url.removeprefix("http://"), timeout=PATIENCE)
    try:
        connection.request("POST", path, json.dumps(body))
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()
