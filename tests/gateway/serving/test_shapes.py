import json
from pathlib import Path

import pytest

from gateway.serving.shapes import misfit

LAYER = "model.layers.0.self_attn.q_proj"


def write(file: Path, **shapes: list[int]) -> None:
    """A safetensors file without its weights."""
    file.parent.mkdir(exist_ok=True)
    tensors = {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for name, shape in shapes.items()}
    header = json.dumps({"__metadata__": {"format": "pt"}, **tensors}).encode()
    file.write_bytes(len(header).to_bytes(8, "little") + header)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """In two files, as large models are."""
    write(tmp_path / "base" / "model-1.safetensors", **{f"{LAYER}.weight": [64, 32]})
    write(tmp_path / "base" / "model-2.safetensors", **{"model.norm.weight": [32]})
    return tmp_path / "base"


def adapter(directory: Path, a: list[int], b: list[int], layer: str = LAYER) -> Path:
    parts = {f"base_model.model.{layer}.lora_A.weight": a, f"base_model.model.{layer}.lora_B.weight": b}
    write(directory / "adapter" / "adapter_model.safetensors", **parts)
    return directory / "adapter"


class TestMisfit:
    def test_matrices_that_fit(self, tmp_path: Path, base: Path) -> None:
        assert misfit(adapter(tmp_path, [8, 32], [64, 8]), base) is None

    @pytest.mark.parametrize(("a", "b"), [([8, 48], [64, 8]), ([8, 32], [96, 8])])
    def test_one_that_does_not_is_named(self, tmp_path: Path, base: Path, a: list[int], b: list[int]) -> None:
        found = misfit(adapter(tmp_path, a, b), base)
        assert found is not None
        assert LAYER in found
        assert "[64, 32]" in found

    def test_layers_that_are_not_known_are_left_to_the_probe(self, tmp_path: Path, base: Path) -> None:
        assert misfit(adapter(tmp_path, [8, 1], [1, 8], "model.layers.0.fused"), base) is None
        assert misfit(adapter(tmp_path, [8, 1], [1, 8]), tmp_path / "elsewhere") is None

    @pytest.mark.parametrize("content", [b"", b"weights", b"\xff" * 16, (2).to_bytes(8, "little") + b"[]"])
    def test_file_that_is_none_is_left_to_the_engine(self, tmp_path: Path, base: Path, content: bytes) -> None:
        directory = adapter(tmp_path, [8, 1], [1, 8])
        (directory / "adapter_model.safetensors").write_bytes(content)
        assert misfit(directory, base) is None
