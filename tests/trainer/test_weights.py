"""Sizes read from headers: synthetic files with the shapes of published models, no numbers in them."""

import struct
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.shapes import LLAMA_8B, write_model
from trainer.weights import read_shape


class TestReadShape:
    def test_of_llama_8b(self, tmp_path: Path):
        shape = read_shape(write_model(tmp_path / "llama", **LLAMA_8B))
        assert shape.parameters == 8_030_261_248
        assert len(shape.linear) == 32 * 7
        assert (shape.hidden_size, shape.layers, shape.family) == (4096, 32, "llama")

    def test_adapters_of_llama_8b_are_as_large_as_tinker_counts_them(self, tmp_path: Path):
        shape = read_shape(write_model(tmp_path / "llama", **LLAMA_8B))
        assert shape.lora_parameters(32) == 83_886_080

    def test_adds_up_several_files(self, tmp_path: Path):
        whole = read_shape(write_model(tmp_path / "one", **LLAMA_8B))
        assert read_shape(write_model(tmp_path / "many", files=4, **LLAMA_8B)) == whole

    def test_of_the_starter_is_what_torch_counts(self, tmp_path: Path):
        torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
        config: dict[str, Any] = {"vocab_size": 64, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96}
        config |= {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": True}
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**config))
        model.save_pretrained(tmp_path / "qwen")
        shape = read_shape(tmp_path / "qwen")
        linear = [module for module in model.model.modules() if isinstance(module, torch.nn.Linear)]
        assert shape.parameters == model.num_parameters()
        assert list(shape.linear) == sorted((one.out_features, one.in_features) for one in linear)

    def test_without_weights(self, tmp_path: Path):
        (tmp_path / "config.json").write_text('{"hidden_size": 1, "num_hidden_layers": 1}')
        with pytest.raises(ValueError, match="no safetensors files"):
            read_shape(tmp_path)

    def test_a_file_of_another_kind(self, tmp_path: Path):
        write_model(tmp_path / "llama", **LLAMA_8B)
        (tmp_path / "llama" / "model-1.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
        with pytest.raises(ValueError, match=r"model-1\.safetensors is no safetensors file"):
            read_shape(tmp_path / "llama")
