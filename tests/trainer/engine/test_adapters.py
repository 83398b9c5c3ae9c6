import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from trainer.engine.adapters import Adapters, BrokenAdapter

pytestmark = pytest.mark.train

IDS = torch.arange(20, 45).view(1, -1)


@torch.inference_mode()
def logits(model):
    return model(IDS).logits


@pytest.fixture
def model(nano_model):
    return AutoModelForCausalLM.from_pretrained(nano_model).eval()


@pytest.fixture
def reference(nano_model):
    """PEFT's own logits of an adapter."""

    def of(path: Path):
        base = AutoModelForCausalLM.from_pretrained(nano_model)
        return logits(PeftModel.from_pretrained(base, path).eval())

    return of


class TestAttached:
    def test_the_base_stays_bit_for_bit_what_it_was(self, model, adapter_a, adapter_b):
        before = logits(model)
        adapters = Adapters(model)
        for key, path in (("a", adapter_a), ("b", adapter_b)):
            adapters.attach(key, path)
            assert torch.equal(logits(model), before)
        for key in ("a", "b", None, "b"):
            adapters.activate(key)
        adapters.activate(None)
        assert torch.equal(logits(model), before)

    def test_each_adapter_gives_what_peft_gives(self, model, reference, adapter_a, adapter_b):
        adapters = Adapters(model)
        adapters.attach("a", adapter_a)
        adapters.attach("b", adapter_b)
        for key, path in (("a", adapter_a), ("b", adapter_b), ("a", adapter_a)):
            adapters.activate(key)
            assert torch.equal(logits(model), reference(path))

    def test_one_goes_and_the_other_stays(self, model, reference, adapter_a, adapter_b):
        before = logits(model)
        adapters = Adapters(model)
        adapters.attach("a", adapter_a)
        adapters.attach("b", adapter_b)
        adapters.detach("a")
        assert torch.equal(logits(model), before)
        with pytest.raises(KeyError):
            adapters.activate("a")
        adapters.activate("b")
        assert torch.equal(logits(model), reference(adapter_b))

    def test_the_last_may_go_and_another_come(self, model, reference, adapter_a, adapter_b):
        before = logits(model)
        adapters = Adapters(model)
        adapters.attach("a", adapter_a)
        adapters.detach("a")
        assert torch.equal(logits(model), before)
        assert not any("lora_" in name for name, _ in model.named_parameters())
        adapters.attach("b", adapter_b)
        adapters.activate("b")
        assert torch.equal(logits(model), reference(adapter_b))


@pytest.fixture
def damaged(adapter_a, tmp_path):
    """Writes a copy of an adapter with a changed configuration or changed weights."""

    def make(weights=None, **config) -> Path:
        copy = Path(shutil.copytree(adapter_a, tmp_path / "damaged"))
        written = json.loads((copy / "adapter_config.json").read_text())
        (copy / "adapter_config.json").write_text(json.dumps({**written, **config}))
        if weights is not None:
            tensors = load_file(copy / "adapter_model.safetensors")
            weights(tensors)
            save_file(tensors, copy / "adapter_model.safetensors")
        return copy

    return make


def widen(tensors) -> None:
    key = next(key for key in tensors if "lora_A" in key)
    tensors[key] = torch.zeros(tensors[key].shape[0], tensors[key].shape[1] + 1)


def drop_one(tensors) -> None:
    tensors.pop(next(iter(tensors)))


def add_unknown(tensors) -> None:
    tensors["base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"] = torch.zeros(4, 64)


def add_head(tensors) -> None:
    tensors["base_model.model.lm_head.weight"] = torch.zeros(4, 64)


class TestBroken:
    @pytest.mark.parametrize(
        ("weights", "config", "reason"),
        [
            (widen, {}, "has shape"),
            (drop_one, {}, "lacks a weight"),
            (add_unknown, {}, "belongs to no linear layer"),
            (add_head, {}, "belongs to no linear layer"),
            (None, {"r": 8}, "has shape"),
            (None, {"r": 1024}, "rank 1024"),
            (None, {"r": 0}, "has shape"),
            (None, {"use_dora": True}, "use_dora=True is not supported"),
            (None, {"bias": "all"}, "bias='all' is not supported"),
            (None, {"modules_to_save": ["lm_head"]}, "is not supported"),
            (None, {"init_lora_weights": "pissa"}, "is not supported"),
            (None, {"peft_type": "IA3"}, "does not describe a LoRA adapter"),
            (None, {"target_modules": ["no_such_module"]}, "no_such_module"),
            (None, {"target_modules": ["q_proj"]}, "holds a weight"),
        ],
    )
    def test_is_refused_with_the_reason_and_leaves_the_model_alone(
        self, model, adapter_b, reference, damaged, weights, config, reason
    ):
        before, names = logits(model), [name for name, _ in model.named_parameters()]
        adapters = Adapters(model)
        path = damaged(weights, **config)
        with pytest.raises(BrokenAdapter, match=reason):
            adapters.attach("x", path)
        assert torch.equal(logits(model), before)
        assert [name for name, _ in model.named_parameters() if "lora_" in name] == []
        if "a weight" not in reason:  # found before anything was put on the model
            assert [name for name, _ in model.named_parameters()] == names
        adapters.attach("b", adapter_b)
        with pytest.raises(BrokenAdapter, match=reason):
            adapters.attach("x", path)
        adapters.activate("b")
        assert torch.equal(logits(model), reference(adapter_b))

    def test_files_that_are_none(self, model, tmp_path, adapter_a):
        adapters = Adapters(model)
        with pytest.raises(BrokenAdapter, match=r"adapter_config\.json cannot be read"):
            adapters.attach("x", tmp_path)
        shutil.copy(adapter_a / "adapter_config.json", tmp_path)
        with pytest.raises(BrokenAdapter, match=r"adapter_model\.safetensors cannot be read"):
            adapters.attach("x", tmp_path)
        (tmp_path / "adapter_model.safetensors").write_bytes(b"\0" * 100)
        with pytest.raises(BrokenAdapter, match=r"adapter_model\.safetensors cannot be read"):
            adapters.attach("x", tmp_path)
        (tmp_path / "adapter_config.json").write_text("[]")
        with pytest.raises(BrokenAdapter, match="does not describe"):
            adapters.attach("x", tmp_path)
