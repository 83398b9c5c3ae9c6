"""From a directory to a model on a device: dtype, threads, context length and the model's own sampling settings."""

import contextlib
import inspect
import logging
import os
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils.logging import disable_progress_bar

from trainer.engine.attention import use_folded_attention
from trainer.engine.vocabulary import Vocabulary

logger = logging.getLogger("tuneway.engine")

SMALL = 50_000_000
"""Parameters below which one thread is as fast as many: starting the others costs what they save."""

SAMPLING_DEFAULTS = ("temperature", "top_p", "top_k", "repetition_penalty")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    model: Any
    vocabulary: Vocabulary
    max_model_len: int
    """Tokens of prompt and answer together."""
    vocab_size: int
    sampling_defaults: dict[str, float]
    """What generation_config.json sets: used for what a call leaves out, as vLLM does."""
    threads: int | None
    """For torch on the CPU; None leaves its default."""


def load(path: str, *, device: str = "auto", max_model_len: int | None = None) -> LoadedModel:
    """Loads a local model. Raises OSError or ValueError with transformers' reason."""
    disable_progress_bar()
    place = pick_device(device)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=pick_dtype(place), local_files_only=True)
    check_architecture(model)
    model.to(place).eval().requires_grad_(False)
    use_folded_attention(model)
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
    if len(tokenizer) <= len(tokenizer.all_special_ids):  # what transformers makes up where there are no files
        raise ValueError(f"there is no tokenizer in {path}.")
    generation = read_generation_config(path)
    config = model.config.get_text_config(decoder=True)
    return LoadedModel(
        model=model,
        vocabulary=Vocabulary(tokenizer, stop_ids_of(generation, config, tokenizer)),
        max_model_len=context_length(config, max_model_len),
        vocab_size=model.get_output_embeddings().weight.shape[0],
        sampling_defaults=sampling_defaults_of(generation),
        threads=pick_threads(model, place),
    )


def check_architecture(model: Any) -> None:
    """Raises ValueError for a model that keeps its past in another way than all others (Mamba without attention)."""
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        raise ValueError(f"{type(model).__name__} is not supported by the embedded engine. Serve it with vLLM.")


def pick_device(wanted: str) -> torch.device:
    """The best there is for "auto". Raises ValueError for one that is not there."""
    there = [
        name
        for name, found in (
            ("cuda", torch.cuda.is_available()),
            ("mps", torch.backends.mps.is_available()),
            ("cpu", True),
        )
        if found
    ]
    if wanted not in ("auto", *there):
        raise ValueError(f"there is no device {wanted} here; there is {', '.join(there)}.")
    return torch.device(there[0] if wanted == "auto" else wanted)


def pick_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the accelerator has it; float32 is fastest and exact on CPUs, and what MPS handles best."""
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def pick_threads(model: Any, device: torch.device) -> int | None:
    if device.type != "cpu" or "OMP_NUM_THREADS" in os.environ:
        return None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return 1 if parameters < SMALL else None


def context_length(config: Any, wanted: int | None) -> int:
    """Raises ValueError for more than the model was made for."""
    limit = getattr(config, "max_position_embeddings", None)
    if wanted is not None and limit is not None and wanted > limit:
        raise ValueError(f"--max-model-len {wanted} is more than the model's own limit of {limit} tokens.")
    return wanted or limit or 2048


def read_generation_config(path: str) -> GenerationConfig | None:
    with contextlib.suppress(OSError):
        return GenerationConfig.from_pretrained(path, local_files_only=True)
    return None


def sampling_defaults_of(generation: GenerationConfig | None) -> dict[str, float]:
    found = {name: getattr(generation, name, None) for name in SAMPLING_DEFAULTS}
    return {name: value for name, value in found.items() if value is not None}


def stop_ids_of(generation: GenerationConfig | None, config: Any, tokenizer: Any) -> frozenset[int]:
    """The end-of-sequence ids of the generation settings, the model and the tokenizer together."""
    ids: set[int] = set()
    for written in (getattr(generation, "eos_token_id", None), config.eos_token_id, tokenizer.eos_token_id):
        ids.update([written] if isinstance(written, int) else written or ())
    return frozenset(ids)
