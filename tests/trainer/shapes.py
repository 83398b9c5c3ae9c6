"""Model directories that have sizes and nothing else: safetensors headers without the numbers behind them."""

import json
import struct
from pathlib import Path
from typing import Any

LLAMA_8B: dict[str, Any] = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 14336,
    "key_value_size": 1024,
    "vocab_size": 128_256,
}
"""Llama 3.1 8B (its published configuration)."""


def write_model(directory: Path, *, files: int = 1, key_value_size: int, vocab_size: int, **config: int) -> Path:
    """A Llama of these sizes whose embeddings are not tied."""
    directory.mkdir()
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    (directory / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    tensors = {"model.embed_tokens.weight": [vocab_size, hidden], "lm_head.weight": [vocab_size, hidden]}
    tensors["model.norm.weight"] = [hidden]
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        tensors |= {f"{name}.self_attn.{one}_proj.weight": [hidden, hidden] for one in "qo"}
        tensors |= {f"{name}.self_attn.{one}_proj.weight": [key_value_size, hidden] for one in "kv"}
        tensors |= {f"{name}.mlp.{one}_proj.weight": [inner, hidden] for one in ("gate", "up")}
        tensors[f"{name}.mlp.down_proj.weight"] = [hidden, inner]
        tensors |= {f"{name}.{one}_layernorm.weight": [hidden] for one in ("input", "post_attention")}
    names = list(tensors)
    for number in range(files):
        header = {one: {"dtype": "BF16", "shape": tensors[one], "data_offsets": [0, 0]} for one in names[number::files]}
        written = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
        (directory / f"model-{number + 1}.safetensors").write_bytes(struct.pack("<Q", len(written)) + written)
    return directory
