"""What real vLLM says of adapters that it cannot serve gets the right name; and it lives on."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from gateway.errors import Refusal
from gateway.serving.failures import Problem, problem_of
from gateway.serving.shapes import misfit
from gateway.settings import TimeoutSettings
from gateway.upstreams.client import UpstreamClient
from gateway.upstreams.engine import Engine
from gateway.upstreams.probe import probe
from tests.vllm.servers import MODEL
from trainer.starter import STARTER

pytestmark = [pytest.mark.anyio, pytest.mark.vllm, pytest.mark.train, pytest.mark.slow]

Make = Callable[..., Path]


@pytest.fixture
async def engine(vllm: str) -> AsyncIterator[Engine]:
    client = UpstreamClient(TimeoutSettings())
    yield Engine(client, f"{vllm}/v1")
    client.close()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes an adapter on the starter, or on another base, with random weights."""

    def make(base: Any = None, **config: Any) -> Path:
        torch.manual_seed(1)
        base = base or AutoModelForCausalLM.from_pretrained(STARTER, dtype=torch.float32)
        settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False, **config}
        get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings)).save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter"

    return make


async def refused(engine: Engine, path: Path, kind: str = "adapter") -> Problem:
    with pytest.raises(Refusal) as caught:
        await engine.load_adapter("ft:starter:test::refused", path)
    assert await engine.is_well()
    return problem_of(caught.value, kind=kind, path=path, engine_path=path)


class TestRefusals:
    async def test_rank(self, engine: Engine, make: Make) -> None:
        found = await refused(engine, make(r=64))
        assert found.code == "rank_too_large"
        assert "--max-lora-rank 64" in found.sentence

    @pytest.mark.parametrize(
        "setting", [{"modules_to_save": ["lm_head"]}, {"use_dora": True}, {"lora_bias": True}, {"bias": "all"}]
    )
    async def test_more_than_a_low_rank_sum(self, engine: Engine, make: Make, setting: dict[str, Any]) -> None:
        config = make() / "adapter_config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | setting))
        assert (await refused(engine, config.parent)).code == "unsupported_modules"

    async def test_modules_that_the_base_has_not(self, engine: Engine, make: Make) -> None:
        path = make()
        from safetensors.torch import load_file, save_file

        weights = load_file(path / "adapter_model.safetensors")
        odd = {name.replace("q_proj", "odd_proj"): tensor for name, tensor in weights.items()}
        save_file(odd, path / "adapter_model.safetensors")
        assert (await refused(engine, path)).code == "unsupported_modules"

    async def test_files_that_it_does_not_see(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(Refusal) as caught:
            await engine.load_adapter("ft:starter:test::refused", tmp_path / "elsewhere")
        found = problem_of(caught.value, kind="adapter", path=tmp_path, engine_path=tmp_path / "elsewhere")
        assert found.code == "path_gone"
        assert "data_dir" in found.sentence

    async def test_weights_of_their_own(self, engine: Engine) -> None:
        assert (await refused(engine, STARTER, "full")).code == "not_supported"

    async def test_adapter_of_another_base(self, engine: Engine, make: Make) -> None:
        """vLLM takes it; that is why its shapes are looked at before."""
        starter = json.loads((STARTER / "config.json").read_text())
        other = Qwen2Config(
            vocab_size=starter["vocab_size"],
            hidden_size=96,
            intermediate_size=160,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
        path = make(Qwen2ForCausalLM(other))
        await engine.load_adapter("ft:starter:test::other", path)  # without a word
        await engine.unload_adapter("ft:starter:test::other")
        assert "has shape" in str(misfit(path, STARTER))
        assert misfit(make(), STARTER) is None


class TestProbe:
    async def test_without_a_trainers_probe_an_adapter_must_change_something(self, engine: Engine, make: Make) -> None:
        path = make(init_lora_weights=True)  # B is zero: it changes nothing
        await engine.load_adapter("ft:starter:test::nothing", path)
        assert (await probe(engine, "ft:starter:test::nothing", MODEL, path, tolerance=0.1)).applied is False
        await engine.unload_adapter("ft:starter:test::nothing")
