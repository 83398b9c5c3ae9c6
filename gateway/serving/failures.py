"""The names of what keeps a fine-tuned model from being served, each with the way out of it.

    rank_too_large        the adapter's rank is above what the engine was started with
    wrong_base            its shapes are another model's
    unsupported_modules   it changes more than a low-rank sum of the layers that the engine knows
    path_gone             its files are not there, here or on the engine's machine
    replica_down          the engine is away, or broke
    probe_failed          loaded, but not applied (gateway/upstreams/probe.py)
    not_supported         the engine loads nothing at run time, or serves no weights of their own
    no_room               the engine is full
    other                 anything else, in the engine's own words

The patterns are the texts of vLLM 0.32 (lora/peft_helper.py, lora/lora_model.py, lora/model_manager.py, exceptions.py;
PyTorch's own where it copies weights of another shape) and of the embedded engine (trainer/engine/adapters.py, weights.py).
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from gateway.errors import Refusal, Unavailable, UpstreamFailed, UpstreamRefused

Code = Literal[
    "rank_too_large",
    "wrong_base",
    "unsupported_modules",
    "path_gone",
    "replica_down",
    "probe_failed",
    "not_supported",
    "no_room",
    "other",
]
RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM's --max-lora-rank may be (vllm/config/lora.py)."""
NO_ROOM = "--max-models"
"""The embedded engine names its setting when it is full (trainer/engine/weights.py)."""

_rank = re.compile(r"LoRA rank (\d+) is greater than (?:max_lora_rank |the highest supported rank, )?(\d+)")
_gone = re.compile(r"No adapter found|Its files are gone|No such file or directory|cannot be read: ")
_full = re.compile(rf"{NO_ROOM}|No free (?:lora|adapter) slots|number of GPU (?:LoRA|model) slots|out of memory", re.I)
_modules = re.compile(
    r"expected target modules in|modules_to_save|does not yet support DoRA|does not support (?:LoRA bias|init_lora_weights"
    r"|Activated LoRA|layer_replication|block-diagonal LoRA|QALoRA)|Adapter bias is not supported|is unsupported LoRA weight"
    r"|belongs to no linear layer of this model|=.+ is not supported|full classification module|does not describe a LoRA"
)
_base = re.compile(
    r"must match the size of tensor|must match the existing size|doesn't match the broadcast shape"
    r"|has shape .+ this model needs|embedding LoRA size|size mismatch|shape mismatch|inconsistent tensor size"
)


@dataclass(frozen=True)
class Problem:
    """Why a replica does not serve a model."""

    code: Code
    sentence: str
    """What is wrong and how to mend it, for whoever calls the model and for the operator."""

    @property
    def is_lasting(self) -> bool:
        """It stays until somebody changes something: the replica is well."""
        return self.code != "replica_down"


def problem_of(refusal: Refusal, *, kind: str, path: Path, engine_path: PurePath) -> Problem:
    """What an engine's refusal to load amounts to.

    Args:
        kind: `adapter`, or `full` for weights of their own.
        path: of the files on this machine.
        engine_path: the same as the engine's machine sees it.
    """
    text = str(refusal)
    if not path.is_dir():
        return Problem("path_gone", "Its files are gone: restore them from a backup, or delete the model.")
    if refusal.code == "no_runtime_updating":
        return Problem("not_supported", text)
    if kind == "full" and _is_answer(refusal) and not _full.search(text):
        return Problem(
            "not_supported", f"This engine serves one base and adapters on it, no weights of their own: {text}"
        )
    patterns: tuple[tuple[Code, re.Pattern[str]], ...] = (
        ("no_room", _full),
        ("unsupported_modules", _modules),
        ("wrong_base", _base),
    )
    for code, pattern in patterns:
        if pattern.search(text):
            return Problem(code, f"{_full_stop(text)} {WAYS_OUT[code]}")
    if match := _rank.search(text):
        return Problem("rank_too_large", f"{_full_stop(text)} {_more_rank(int(match[1]))}")
    if _gone.search(text):
        return Problem(
            "path_gone", f"{_full_stop(text)} {WAYS_OUT['path_gone'].format(path=path, engine_path=engine_path)}"
        )
    return Problem("other" if _is_answer(refusal) else "replica_down", text)


WAYS_OUT: dict[str, str] = {
    "no_room": "Unload another one (POST /v1/models/unload), or give the engine more room.",
    "unsupported_modules": "Train with LoRA or QLoRA on the base's linear layers, or merge the adapter"
    " (GET /v1/models/{model}/export?format=merged) and serve that as a model of its own under [[upstreams]].",
    "wrong_base": "It was trained on another base than this engine serves: start the engine with the base that it was trained"
    " on, or train it again.",
    "path_gone": "{path} is there on this machine: the engine's machine must see it as {engine_path} (the same volume, or"
    " [engine] data_dir).",
}


def _more_rank(rank: int) -> str:
    enough = next((each for each in RANKS if each >= rank), None)
    if enough is None:
        return f"No engine serves more than {RANKS[-1]}: train it again with a smaller training.lora_rank."
    return (
        f"Restart vLLM with --max-lora-rank {enough} ([vllm] max_lora_rank = {enough} with `tuneway serve`), or train it again"
        " with a smaller rank."
    )


def _is_answer(refusal: Refusal) -> bool:
    """The engine said it, rather than being away."""
    if isinstance(refusal, UpstreamFailed):
        return refusal.answered is not None
    return isinstance(refusal, UpstreamRefused) and not isinstance(refusal, Unavailable)


def _full_stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
