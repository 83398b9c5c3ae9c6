"""LoRA adapters on one base model, through PEFT. Everything here runs on the model thread, between steps."""

import json
import re
from pathlib import Path
from typing import Any, cast

from peft import LoraConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError, safe_open

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"

MAX_RANK = 512
"""The largest rank that vLLM can be set to serve: an adapter that works here must not fail there."""

WEIGHT_KEY = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<part>[AB])\.weight$")

UNTOUCHED_BASE = {
    "use_dora": (False,),
    "lora_bias": (False,),
    "bias": ("none",),
    "modules_to_save": (None, []),
    "layer_replication": (None,),
    "trainable_token_indices": (None,),
    "alora_invocation_tokens": (None,),
    "use_qalora": (False,),
    "target_parameters": (None, []),
    "init_lora_weights": (True, False, "gaussian"),
}
"""What vLLM accepts of each setting; the other values change more than a low-rank sum."""


class BrokenAdapter(Exception):
    """The files are there, but cannot become an adapter of this model; the text says why."""


class Adapters:
    """Puts adapters on the model, switches between them and takes them off.

    An adapter is known here by a key that the registry makes: names may hold characters that modules may not.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._shapes = linear_shapes(model)
        self._peft: PeftModel | None = None
        self._layers: list[BaseTunerLayer] = []
        self._active: str | None = None

    def attach(self, key: str, path: Path) -> None:
        """Raises BrokenAdapter and leaves the model as it was."""
        config = read_config(path)
        check_weights(path / WEIGHTS, config, self._shapes)
        try:
            self._load(key, path, config)
        except Exception as error:
            self.detach(key)
            raise BrokenAdapter(first_line(error)) from error
        self._refresh()

    def _load(self, key: str, path: Path, config: LoraConfig) -> None:
        kept_dtype = {"autocast_adapter_dtype": False, "low_cpu_mem_usage": True}
        if self._peft is None:
            self._peft = PeftModel(self._model, config, adapter_name=key, **kept_dtype)
        else:
            self._peft.add_adapter(key, config, **kept_dtype)
        loaded = self._peft.load_adapter(str(path), key, torch_device=str(self._model.device), **kept_dtype)
        missing = [name for name in loaded.missing_keys if f".{key}." in name]
        if missing:
            raise BrokenAdapter(f"{WEIGHTS} lacks a weight that {CONFIG} asks for: {missing[0]}")
        if loaded.unexpected_keys:
            raise BrokenAdapter(f"{WEIGHTS} holds a weight that {CONFIG} does not name: {loaded.unexpected_keys[0]}")

    def detach(self, key: str) -> None:
        """Takes an adapter off and frees its weights; an unknown key is no error."""
        self.activate(None)
        self._refresh()
        if self._peft is not None and key in self._peft.peft_config:
            self._peft.delete_adapter(key)
        self._refresh()

    def activate(self, key: str | None) -> None:
        """Makes the model answer as this adapter, or as its base for None. KeyError for one that is not on it."""
        if key == self._active:
            return
        if key is not None and (self._peft is None or key not in self._peft.peft_config):
            raise KeyError(key)
        # What set_adapter and enable_adapters do, without walking over every weight to freeze it once more and without
        # Module.__setattr__: that costs 20 microseconds a layer, and adapters may change at every step.
        state = {"_active_adapter": [] if key is None else [key], "_disable_adapters": key is None}
        for layer in self._layers:
            vars(layer).update(state)
        self._active = key

    def _refresh(self) -> None:
        """After the set of adapters changed: every layer, new ones too, answers as the base."""
        self._layers = [module for module in self._model.modules() if isinstance(module, BaseTunerLayer)]
        for layer in self._layers:
            layer.enable_adapters(False)
            layer.set_adapter([], inference_mode=True)
        self._active = None


def linear_shapes(model: Any) -> dict[str, tuple[int, int]]:
    """Module name -> (inputs, outputs) of every linear layer of the bare model."""
    return {
        name: (module.in_features, module.out_features)
        for name, module in model.named_modules()
        if hasattr(module, "in_features") and hasattr(module, "out_features")
    }


def read_config(path: Path) -> LoraConfig:
    try:
        written = json.loads((path / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise BrokenAdapter(f"{CONFIG} cannot be read: {first_line(error)}") from error
    if not isinstance(written, dict) or written.get("peft_type") != "LORA":
        raise BrokenAdapter(f"{CONFIG} does not describe a LoRA adapter")
    for setting, accepted in UNTOUCHED_BASE.items():
        if setting in written and written[setting] not in accepted:
            raise BrokenAdapter(f"{setting}={written[setting]!r} is not supported")
    try:
        config = cast("LoraConfig", LoraConfig.from_pretrained(str(path)))
    except (TypeError, ValueError) as error:
        raise BrokenAdapter(f"{CONFIG} is not valid: {first_line(error)}") from error
    config.inference_mode = True
    if config.r > MAX_RANK:
        raise BrokenAdapter(f"LoRA rank {config.r} is greater than the highest supported rank, {MAX_RANK}")
    return config


def check_weights(file: Path, config: LoraConfig, shapes: dict[str, tuple[int, int]]) -> None:
    """Refuses, before the model is touched, weights that do not fit it."""
    ranks = {config.r, *config.rank_pattern.values()}
    found = read_shapes(file)
    if not found:
        raise BrokenAdapter(f"{WEIGHTS} holds no weights")
    for key, shape in found.items():
        match = WEIGHT_KEY.match(key)
        if match is None or match["module"] not in shapes:
            raise BrokenAdapter(f"{key} belongs to no linear layer of this model")
        inputs, outputs = shapes[match["module"]]
        fits = [(rank, inputs) if match["part"] == "A" else (outputs, rank) for rank in ranks]
        if shape not in fits:
            raise BrokenAdapter(f"{key} has shape {list(shape)}, this model needs {list(fits[0])}")


def read_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    try:
        with safe_open(str(file), framework="pt") as weights:
            return {key: tuple(weights.get_slice(key).get_shape()) for key in weights.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BrokenAdapter(f"{WEIGHTS} cannot be read: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return " ".join(line.strip() for line in lines[:2]) if lines else type(error).__name__
