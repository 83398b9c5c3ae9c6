"""The model that is trained: its base on the disk, its form in memory, and what is saved of it.

| training type | base in memory                        | trained          | saved                        |
|---------------|---------------------------------------|------------------|------------------------------|
| lora          | the hardware's dtype                  | float32 adapter  | adapter                      |
| qlora         | nf4, quantized while it is loaded     | float32 adapter  | adapter, for the 16-bit base |
| full          | float32, computed in hardware's dtype | every weight     | weights, tokenizer, config   |

Weights of 16 bit cannot be trained by themselves: near a weight w they hold no difference smaller than w/256, and an
update at a learning rate of 1e-5 is far less.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from peft import LoraConfig, PeftConfig, PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import GENERATION_CONFIG_NAME

from trainer.contract import Hyperparameters, TrainingSpec
from trainer.failures import TrainingFailed, impossible
from trainer.hyperparameters import Adapter, BaseModel, Machine, Number, resolve
from trainer.job import Job

_WHOLE = "1TB"
"""Largest file of a model: all its weights in one."""


@dataclass(frozen=True)
class Base:
    """A base model as it lies on the disk, before its weights are loaded."""

    path: str
    """A directory, or an id in the local Hugging Face cache."""
    shape: BaseModel
    tokenizer: PreTrainedTokenizerBase
    config: PretrainedConfig

    @property
    def padding_id(self) -> int:
        """Any token serves: attention and labels leave padding out by position."""
        return self.tokenizer.pad_token_id if isinstance(self.tokenizer.pad_token_id, int) else 0


# ---- On the disk


def open_base(job: Job) -> Base:
    """The job's base model, or the full weights that it continues from. Raises TrainingFailed where it is not there, or
    of an unknown kind."""
    path = _path(job)
    try:
        config = AutoConfig.from_pretrained(path)
        tokenizer = AutoTokenizer.from_pretrained(path)
    except OSError:
        raise _not_here("base model") from None
    except ValueError:
        raise TrainingFailed("invalid_model", "The trainer does not know base models of this kind.") from None
    text = config.get_text_config()
    shape = BaseModel(
        family=text.model_type,
        hidden_size=text.hidden_size,
        # A model without positions has no such limit.
        longest_context=getattr(text, "max_position_embeddings", None) or sys.maxsize,
        parameters=_count_parameters(config),
    )
    return Base(path, shape, tokenizer, config)


def _path(job: Job) -> str:
    if _continues_weights(job):
        return str(_continued(job))
    directory = job.path(job.spec.base_model)
    return str(directory) if directory.is_dir() else job.spec.base_model


def _continued(job: Job) -> Path | None:
    return None if job.spec.continue_from is None else job.path(job.spec.continue_from)


def _continues_weights(job: Job) -> bool:
    path = _continued(job)
    return path is not None and (path / "config.json").exists() and not (path / "adapter_config.json").exists()


def _count_parameters(config: PretrainedConfig) -> int:
    """Counted on a model without weights, which takes milliseconds and no memory."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config).num_parameters()


def continued_adapter(job: Job) -> Adapter | None:
    """The shape of the adapter that training goes on with. Raises TrainingFailed where it is not there."""
    if job.spec.continue_from is None or _continues_weights(job):
        return None
    try:
        config = PeftConfig.from_pretrained(str(_continued(job)))
    except (OSError, ValueError):
        raise _not_here("model to train further") from None
    if not isinstance(config, LoraConfig):
        raise TrainingFailed("invalid_model", "The model to train further is not a LoRA adapter.")
    return Adapter(config.r, config.lora_alpha)


def _not_here(noun: str) -> TrainingFailed:
    return TrainingFailed("model_not_found", f"The {noun} is not on the machine that trains.")


# ---- Choosing


def choose(job: Job, base: Base, *, examples: int, context: Number) -> Hyperparameters:
    """`hyperparameters.resolve()` for this job on this machine. Raises TrainingFailed."""
    continued = continued_adapter(job)
    chosen = resolve(
        _with_training_type(job, continued),
        base.shape,
        examples=examples,
        context=context,
        continued=continued,
        machine=Machine(job.hardware.device, job.hardware.memory_bytes),
    )
    if not job.recomputes_activations:
        return chosen
    reasons = chosen.reasons | {"gradient_checkpointing": "switched on after the memory did not suffice without it"}
    return msgspec.structs.replace(chosen, gradient_checkpointing=True, reasons=reasons)


def _with_training_type(job: Job, continued: Adapter | None) -> TrainingSpec:
    """What is trained further stays what it is: an adapter, or full weights."""
    given = job.spec.training_type
    if continued is not None and given == "full":
        why, fix = "the model that is trained further is an adapter", "Take lora or qlora, or start from the base model"
        raise impossible("training_type", why, fix)
    if _continues_weights(job):
        if given in ("lora", "qlora"):
            why, fix = "all weights of the model that is trained further were trained", "Take full"
            raise impossible("training_type", why, fix)
        return msgspec.structs.replace(job.spec, training_type="full")
    return job.spec


# ---- In memory


def load(job: Job, base: Base, chosen: Hyperparameters) -> PreTrainedModel | PeftModel:
    """The base model's weights, with the adapter that training goes on with where there is one. Raises TrainingFailed
    where they have gone."""
    torch.set_num_threads(job.hardware.threads)
    try:
        model = AutoModelForCausalLM.from_pretrained(base.path, **_form(job, chosen))
    except OSError:
        raise _not_here("base model") from None
    if chosen.training_type == "full":
        return _ready_to_save(model, base)
    if chosen.training_type == "qlora":
        _keep_trainable(model)
    if job.spec.continue_from is None:
        return model
    try:
        return PeftModel.from_pretrained(model, str(_continued(job)), is_trainable=True)
    except (OSError, ValueError):
        raise _not_here("model to train further") from None


def _form(job: Job, chosen: Hyperparameters) -> dict[str, Any]:
    """Arguments of `from_pretrained` (see the table at the top)."""
    hardware = job.hardware
    if chosen.training_type == "full":
        return {"dtype": torch.float32}
    if chosen.training_type == "lora":
        return {"dtype": hardware.dtype}
    if hardware.device == "mps":
        raise impossible("training_type", "4-bit weights need a CPU or an NVIDIA GPU", "Take lora")
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=hardware.dtype,
    )
    place = torch.cuda.current_device() if hardware.device == "cuda" else "cpu"
    return {"dtype": hardware.dtype, "quantization_config": four_bit, "device_map": {"": place}}


def new_adapter(model: PreTrainedModel | PeftModel, chosen: Hyperparameters) -> LoraConfig | None:
    """What TRL's `peft_config` has to be for what `load()` returned: None where it has its adapter, or needs none."""
    if isinstance(model, PeftModel) or chosen.training_type == "full":
        return None
    return LoraConfig(
        r=chosen.lora_rank,
        lora_alpha=chosen.lora_alpha,
        target_modules="all-linear",
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )


def _keep_trainable(model: PreTrainedModel) -> None:
    """On CPUs with AVX512-BF16, bitsandbytes rewrites its weights at the first validation into a form that has no
    gradients, and training could not go on."""
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _ready_to_save(model: PreTrainedModel, base: Base) -> PreTrainedModel:
    """Keeps the dtype that the weights have on the disk."""
    model.stored_dtype = base.config.dtype or torch.float32
    return model


# ---- Saving


def write_adapter(model: PeftModel, path: Path) -> None:
    """PEFT's two files."""
    model.save_pretrained(str(path), selected_adapters=["default"], save_embedding_layers=False)


def write_weights(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """A model's directory as any engine loads it, in the dtype that the weights have."""
    write_model(model, path, max_shard_size=_WHOLE)
    tokenizer.save_pretrained(str(path))


def write_model(model: PreTrainedModel, path: Path, **settings: Any) -> None:
    """`save_pretrained(path, **settings)`, with the generation settings as they are: many models come with some that
    transformers reads, but refuses to write (a temperature without sampling), and engines take them as defaults."""
    generation = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        model.save_pretrained(str(path), **settings)
    finally:
        model.generation_config = generation
    generation.to_json_file(path / GENERATION_CONFIG_NAME, keys_to_pop=["compile_config"])


def finish(model: PreTrainedModel) -> None:
    """Gives trained weights the form in which the base model came."""
    model.to(model.stored_dtype)
    model.config.use_cache = True
