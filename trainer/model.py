"""The model that is trained: its base on the disk, its form in memory, and its adapter."""

import sys
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftConfig, PeftModel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from trainer.contract import Hyperparameters
from trainer.failures import TrainingFailed
from trainer.hyperparameters import Adapter, BaseModel
from trainer.job import Job


@dataclass(frozen=True)
class Base:
    """A base model as it lies on the disk, before its weights are loaded."""

    path: str
    """A directory, or an id in the local Hugging Face cache."""
    shape: BaseModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def padding_id(self) -> int:
        """Any token serves: attention and labels leave padding out by position."""
        return self.tokenizer.pad_token_id if isinstance(self.tokenizer.pad_token_id, int) else 0


def open_base(job: Job) -> Base:
    """Raises TrainingFailed where it is not there, or of an unknown kind."""
    directory = job.path(job.spec.base_model)
    path = str(directory) if directory.is_dir() else job.spec.base_model
    try:
        whole = AutoConfig.from_pretrained(path)
        tokenizer = AutoTokenizer.from_pretrained(path)
    except OSError:
        raise TrainingFailed("model_not_found", "The base model is not on the machine that trains.") from None
    except ValueError:
        raise TrainingFailed("invalid_model", "The trainer does not know base models of this kind.") from None
    config = whole.get_text_config()
    shape = BaseModel(
        family=config.model_type,
        hidden_size=config.hidden_size,
        # A model without positions has no such limit.
        longest_context=getattr(config, "max_position_embeddings", None) or sys.maxsize,
        parameters=_count_parameters(whole),
    )
    return Base(path, shape, tokenizer)


def _count_parameters(config: PretrainedConfig) -> int:
    """Counted on a model without weights, which takes milliseconds and no memory."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config).num_parameters()


def continued_adapter(job: Job) -> Adapter | None:
    """The shape of the adapter that training goes on with. Raises TrainingFailed where it is not there."""
    if job.spec.continue_from is None:
        return None
    try:
        config = PeftConfig.from_pretrained(str(job.path(job.spec.continue_from)))
    except (OSError, ValueError):
        raise TrainingFailed("model_not_found", "The model to train further is not on this machine.") from None
    if not isinstance(config, LoraConfig):
        raise TrainingFailed("invalid_model", "The model to train further is not a LoRA adapter.")
    return Adapter(config.r, config.lora_alpha)


def load(job: Job, base: Base) -> PreTrainedModel | PeftModel:
    """The base model's weights, with the adapter that training goes on with where there is one."""
    torch.set_num_threads(job.hardware.threads)
    model = AutoModelForCausalLM.from_pretrained(base.path, dtype=job.hardware.dtype)
    if job.spec.continue_from is None:
        return model
    return PeftModel.from_pretrained(model, str(job.path(job.spec.continue_from)), is_trainable=True)


def new_adapter(model: PreTrainedModel | PeftModel, chosen: Hyperparameters) -> LoraConfig | None:
    """What TRL's `peft_config` has to be for what `load()` returned: None where it has its adapter already."""
    if isinstance(model, PeftModel):
        return None
    return LoraConfig(
        r=chosen.lora_rank,
        lora_alpha=chosen.lora_alpha,
        target_modules="all-linear",
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )
