"""A nano model with its own tokenizer and template, random adapters on it, and the engine on a real socket."""

import asyncio
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.trainer.engine.wire import CONTEXT, PATIENCE, Gate, RunningEngine, until

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# The tests import torch at their top: without the [train] extra there is nothing to collect here.
collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models this small gain nothing from more threads, and lose a lot where other work wants the same cores."""
    import torch

    torch.set_num_threads(1)


SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]

CHATML = (
    "{%- if tools %}{{- '<|im_start|>system\nTools: ' }}{%- for tool in tools %}{{- tool | tojson }}{%- endfor %}"
    "{{- '<|im_end|>\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{%- if message.role == 'user' and message.content == 'refuse me' %}"
    "{{- raise_exception('no such turn') }}{%- endif %}"
    "{{- '<|im_start|>' + message.role + '\n' + message.content }}"
    "{%- for call in message.tool_calls or [] %}"
    "{{- '<tool_call>' + call.function.name + (call.function.arguments | tojson) + '</tool_call>' }}{%- endfor %}"
    "{{- '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)

WORDS = [
    "the",
    "a",
    "blue",
    "red",
    "green",
    "sky",
    "sea",
    "says",
    "hello",
    "world",
    "number",
    "one",
    "two",
    "three",
    "café",
    "naïve",
    "日本",
    "語",
    "emoji",
    "🙂",
    "🚀",
    "ok",
]


def corpus() -> list[str]:
    shuffled = random.Random(0)
    return [" ".join(shuffled.choices(WORDS, k=12)) for _ in range(400)]


def make_tokenizer() -> Any:
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(corpus(), vocab_size=512, special_tokens=SPECIAL, show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.chat_template = CHATML
    return tokenizer


@pytest.fixture(scope="session")
def nano_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, scaled up so that the logits are far apart: greedy answers then survive rounding."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    directory = tmp_path_factory.mktemp("nano")
    tokenizer = make_tokenizer()
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen2ForCausalLM(config).save_pretrained(directory)
    return directory


AdapterMaker = Callable[..., Path]


@pytest.fixture(scope="session")
def make_adapter(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> AdapterMaker:
    """Writes a LoRA adapter with random weights: `make_adapter(seed, **lora_config)`."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    def make(seed: int = 0, **config: Any) -> Path:
        directory = tmp_path_factory.mktemp("adapter")
        torch.manual_seed(seed)
        settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False, **config}
        base = AutoModelForCausalLM.from_pretrained(nano_model)
        get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings)).save_pretrained(directory)
        return directory

    return make


@pytest.fixture(scope="session")
def adapter_a(make_adapter: AdapterMaker) -> Path:
    return make_adapter(1)


@pytest.fixture(scope="session")
def adapter_b(make_adapter: AdapterMaker) -> Path:
    """Another rank, and fewer layers than the first."""
    return make_adapter(2, r=8, target_modules=["q_proj", "down_proj"])


@pytest.fixture(scope="session")
def start_engine(nano_model: Path) -> Iterator[Callable[..., RunningEngine]]:
    """Starts engines in this process, each on its own event loop and port."""
    from aiohttp import web

    from trainer.engine.engine import Engine
    from trainer.engine.loading import load
    from trainer.engine.server import build_app

    stops: list[Callable[[], None]] = []

    def start(
        *, max_concurrency: int = 16, max_models: int = 4, model: Path = nano_model, **loading: Any
    ) -> RunningEngine:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        limits = {"max_concurrency": max_concurrency, "max_models": max_models}
        engine = Engine(load(str(model), device="cpu", **loading), "nano", str(model), **limits)
        runner = web.AppRunner(build_app(engine), handler_cancellation=True, shutdown_timeout=1, access_log=None)

        async def listen() -> int:
            engine.start()
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            return runner.addresses[0][1]

        port = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)

        def stop() -> None:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
            engine.stop()
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

        stops.append(stop)
        return RunningEngine(f"http://127.0.0.1:{port}", engine, loop)

    yield start
    for stop in stops:
        stop()


@pytest.fixture(scope="session")
def served(start_engine: Callable[..., RunningEngine]) -> RunningEngine:
    """The engine that most tests share. A test that loads an adapter unloads it."""
    return start_engine()


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
