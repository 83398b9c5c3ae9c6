"""How large a model is, read from the headers of its safetensors files: no ML library, no weights in memory.

Format: 8 bytes with the little-endian length of a JSON header, the header (name -> dtype, shape, data_offsets), then the
numbers (https://github.com/huggingface/safetensors, "Format").
"""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST_HEADER = 100_000_000
"""Bytes; the limit of the format's own library."""
_NOT_ADAPTED = ("embed", "wte", "wpe", "lm_head", "norm", "router", "gate.weight")
"""Parts of names of matrices that LoRA's "all-linear" leaves alone: embeddings, the output head, routers."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of one model."""

    parameters: int
    linear: tuple[tuple[int, int], ...]
    """(outputs, inputs) of every matrix that an adapter is put on, and that 4-bit quantization shrinks."""
    hidden_size: int
    layers: int
    heads: int
    family: str
    longest_context: int | None

    @property
    def linear_parameters(self) -> int:
        return sum(outputs * inputs for outputs, inputs in self.linear)

    def lora_parameters(self, rank: int) -> int:
        """Σ rank · (inputs + outputs): 2,621,440 · rank for Llama-3.1-8B."""
        return sum(rank * (outputs + inputs) for outputs, inputs in self.linear)


def read_shape(directory: Path) -> Shape:
    """Raises OSError or ValueError where there are no readable weights."""
    config = json.loads((directory / "config.json").read_text())
    text = config.get("text_config", config)
    shapes = _shapes(directory)
    return Shape(
        parameters=sum(math.prod(shape) for shape in shapes.values()),
        linear=tuple(sorted((shape[0], shape[1]) for name, shape in shapes.items() if _is_adapted(name, shape))),
        hidden_size=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=text.get("num_attention_heads", 0),
        family=text.get("model_type", config.get("model_type", "")),
        longest_context=text.get("max_position_embeddings"),
    )


def _is_adapted(name: str, shape: list[int]) -> bool:
    return len(shape) == 2 and name.endswith(".weight") and not any(part in name for part in _NOT_ADAPTED)


def _shapes(directory: Path) -> dict[str, list[int]]:
    """Name -> shape over all files."""
    files = sorted(directory.glob("*.safetensors"))
    if not files:
        raise ValueError("the base model has no safetensors files")
    found: dict[str, list[int]] = {}
    for file in files:
        found |= {name: tensor["shape"] for name, tensor in _header(file).items() if name != "__metadata__"}
    return found


def _header(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        (length,) = struct.unpack("<Q", content.read(8))
        if length > LONGEST_HEADER:
            raise ValueError(f"{file.name} is no safetensors file")
        return json.loads(content.read(length))
