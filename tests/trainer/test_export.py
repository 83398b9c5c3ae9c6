"""Merging an adapter into its base."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer import export

torch = pytest.importorskip("torch")
from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
)

pytestmark = pytest.mark.train

TEXT = "The colour of the sky is blue."


@pytest.fixture(scope="module")
def make_adapter(nano_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Random weights on every linear layer: `make_adapter(quantized=True)` is on a 4-bit base."""

    def make(*, quantized: bool = False, **config: Any) -> Path:
        from transformers import AutoModelForCausalLM

        torch.manual_seed(1)
        more = {"quantization_config": BitsAndBytesConfig(load_in_4bit=True)} if quantized else {}
        base = AutoModelForCausalLM.from_pretrained(nano_model, **more)
        settings = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "init_lora_weights": False, **config}
        directory = tmp_path_factory.mktemp("adapter")
        get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings)).save_pretrained(directory)
        return directory

    return make


@pytest.fixture(scope="module")
def adapter(make_adapter: Callable[..., Path]) -> Path:
    return make_adapter()


def load(path: Path, dtype: Any = None) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, dtype=dtype or torch.float32).eval()


def adapted(base: Path, adapter: Path) -> Any:
    return PeftModel.from_pretrained(load(base), str(adapter)).eval()


def logits(model: Any) -> Any:
    with torch.no_grad():
        return model(torch.arange(20, 60).view(1, -1)).logits


def answer(model: Any, tokenizer: Any) -> list[int]:
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    model.generation_config.eos_token_id = None
    settings = {"do_sample": False, "max_new_tokens": 30, "pad_token_id": 0, "attention_mask": torch.ones_like(ids)}
    return model.generate(input_ids=ids, **settings)[0].tolist()


class TestMerge:
    def test_answers_as_the_adapter_on_its_base(self, nano_model: Path, adapter: Path, tmp_path: Path) -> None:
        export.merge(str(nano_model), adapter, tmp_path / "merged")
        merged, unmerged = load(tmp_path / "merged"), adapted(nano_model, adapter)
        assert torch.allclose(logits(merged), logits(unmerged), atol=1e-4)
        assert not torch.allclose(logits(merged), logits(load(nano_model)), atol=1e-2)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
        assert answer(merged, tokenizer) == answer(unmerged, tokenizer)

    def test_tokenizer_and_template_come_along(self, nano_model: Path, adapter: Path, tmp_path: Path) -> None:
        export.merge(str(nano_model), adapter, tmp_path / "merged")
        ours, theirs = (AutoTokenizer.from_pretrained(path) for path in (tmp_path / "merged", nano_model))
        assert ours(TEXT).input_ids == theirs(TEXT).input_ids
        assert ours.chat_template == theirs.chat_template
        names = {path.name for path in (tmp_path / "merged").iterdir()}
        assert {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json"} <= names
        assert "adapter_config.json" not in names

    def test_adapter_of_a_4_bit_base_is_merged_into_the_unquantized_one(
        self, nano_model: Path, make_adapter: Callable[..., Path], tmp_path: Path
    ) -> None:
        pytest.importorskip("bitsandbytes")
        adapter = make_adapter(quantized=True)
        export.merge(str(nano_model), adapter, tmp_path / "merged")
        assert torch.allclose(logits(load(tmp_path / "merged")), logits(adapted(nano_model, adapter)), atol=1e-4)
        config = json.loads((tmp_path / "merged" / "config.json").read_text())
        assert "quantization_config" not in config

    def test_sampling_settings_without_sampling_come_along(
        self, nano_model: Path, adapter: Path, tmp_path: Path
    ) -> None:
        """transformers reads them, but refuses to write them."""
        base = Path(shutil.copytree(nano_model, tmp_path / "base"))
        sampling = {"temperature": 0.6, "top_p": 0.9, "min_p": 0.05}
        (base / "generation_config.json").write_text(json.dumps(sampling))
        export.merge(str(base), adapter, tmp_path / "merged")
        written = json.loads((tmp_path / "merged" / "generation_config.json").read_text())
        assert {name: written.get(name) for name in sampling} == sampling

    def test_is_written_in_the_bases_dtype_after_a_sum_in_32_bits(
        self, nano_model: Path, adapter: Path, tmp_path: Path
    ) -> None:
        """Adding in bfloat16 would round twice: first the difference, then the sum."""
        short = tmp_path / "bfloat16"
        load(nano_model, torch.bfloat16).save_pretrained(short)
        AutoTokenizer.from_pretrained(nano_model).save_pretrained(short)
        export.merge(str(short), adapter, tmp_path / "merged")
        merged = load(tmp_path / "merged", "auto").state_dict()
        exact = adapted(short, adapter).merge_and_unload().state_dict()
        assert {weights.dtype for weights in merged.values()} == {torch.bfloat16}
        for name, weights in merged.items():
            assert torch.equal(weights, exact[name].to(torch.bfloat16)), name


class TestRefused:
    def test_adapter_of_another_base(self, adapter: Path, tmp_path: Path) -> None:
        other = tmp_path / "other"
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
        Qwen2ForCausalLM(Qwen2Config(vocab_size=512, intermediate_size=64, **sizes)).save_pretrained(other)
        with pytest.raises(RuntimeError, match="size mismatch"):
            export.merge(str(other), adapter, tmp_path / "merged")

    def test_weights_that_are_not_finite(self, nano_model: Path, adapter: Path, tmp_path: Path) -> None:
        broken = Path(shutil.copytree(adapter, tmp_path / "broken"))
        file = broken / "adapter_model.safetensors"
        save_file({name: tensor * float("nan") for name, tensor in load_file(file).items()}, file)
        with pytest.raises(ValueError, match="NaN"):
            export.merge(str(nano_model), broken, tmp_path / "merged")
        assert not (tmp_path / "merged").exists()


class TestMain:
    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trainer.export", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def test_exits_0_with_the_weights_there(self, nano_model: Path, adapter: Path, tmp_path: Path) -> None:
        ended = self.run("--exit-with-parent", nano_model, adapter, tmp_path / "merged")
        assert ended.returncode == 0, ended.stderr
        assert (tmp_path / "merged" / "model.safetensors").exists()

    def test_says_in_its_last_line_why_it_cannot(self, nano_model: Path, tmp_path: Path) -> None:
        ended = self.run(nano_model, tmp_path / "nothing", tmp_path / "merged")
        assert ended.returncode == 1
        assert "nothing" in ended.stderr.splitlines()[-1]
