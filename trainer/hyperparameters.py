"""From "auto" to numbers, each with a reason that a person without ML background can read.

Sources, by name below:
- OpenAI: the constants of its fine-tuning cookbook (3 epochs; between 100 and 25,000 examples in all epochs together;
  at most 25 epochs) and of its batch size rule (0.2 % of the examples).
- LoRA Without Regret (Thinking Machines; also in TRL's documentation): adapters on all linear layers, small batches,
  a learning rate that hardly depends on the rank.
- Tinker: `5e-5 * 10 * (2000 / hidden size) ** exponent`, the exponent 0.781 fitted on Llama and 0.0775 on Qwen models.
- Measured: on the starter model (hidden size 192), rank 32, learning rate 3e-3 and about 300 steps reach exact answers.
"""

from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from trainer.contract import Hyperparameters, TrainingSpec

MINIMUM_EXAMPLES = 10
"""OpenAI refuses fewer."""

_TINY = 256
"""Hidden size up to which a base model is so small that it needs large updates."""
_TINY_STEPS = 300
_TINY_LEARNING_RATE = 3e-3

_LARGE_MODEL = 1_000_000_000
"""Parameters from which activations are computed again rather than kept (about 30 % slower, far less memory)."""

_TARGET_EPOCHS, _MOST_EPOCHS = 3, 25
_FEWEST_SEEN, _MOST_SEEN = 100, 25_000
_TINKER_EXPONENT = {"qwen": 0.0775, "llama": 0.781}
_LONGEST = {"cpu": 4_096, "mps": 4_096, "cuda": 8_192}


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """What the rules look at."""

    family: str
    """`model_type` of its configuration: "qwen2", "llama", ..."""
    hidden_size: int
    longest_context: int
    """Tokens it was made for (`max_position_embeddings`)."""
    parameters: int = 0

    @property
    def is_tiny(self) -> bool:
        return self.hidden_size <= _TINY


class Adapter(NamedTuple):
    """Shape of a LoRA adapter."""

    rank: int
    alpha: int


class Number(NamedTuple):
    value: float
    reason: str


def context_length(base: BaseModel, device: str) -> Number:
    """Tokens at which examples are cut. A cap costs nothing where examples are shorter, and bounds memory."""
    cap = _LONGEST[device]
    if base.longest_context <= cap:
        return Number(base.longest_context, f"the base model reads at most {base.longest_context} tokens")
    return Number(cap, f"{cap} tokens are the most that this trainer takes on {device}")


def resolve(
    spec: TrainingSpec, base: BaseModel, *, examples: int, context: Number, continued: Adapter | None = None
) -> Hyperparameters:
    """Every number of a supervised LoRA run; a value that the spec gives wins over the rule.

    `examples` are those that are trained on. `continued` is the shape of the adapter that training goes on with.
    """
    batch_size = _given(spec.batch_size) or _batch_size(base, examples)
    n_epochs = _given(spec.n_epochs) or _n_epochs(base, examples, int(batch_size.value))
    multiplier = _given(spec.learning_rate_multiplier) or Number(1.0, "the automatic learning rate is used as it is")
    learning_rate = _learning_rate(base, multiplier.value)
    adapter, adapter_reason = _adapter(base, continued)
    return Hyperparameters(
        n_epochs=int(n_epochs.value),
        batch_size=int(batch_size.value),
        learning_rate_multiplier=multiplier.value,
        learning_rate=learning_rate.value,
        lora_rank=adapter.rank,
        lora_alpha=adapter.alpha,
        context_length=int(context.value),
        gradient_checkpointing=base.parameters >= _LARGE_MODEL,
        reasons={
            "n_epochs": n_epochs.reason,
            "batch_size": batch_size.reason,
            "learning_rate_multiplier": multiplier.reason,
            "learning_rate": learning_rate.reason,
            "lora_rank": adapter_reason,
            "lora_alpha": f"{adapter.alpha / adapter.rank:g} times the rank"
            if continued is None
            else "as in the adapter that is trained further",
            "context_length": context.reason,
        },
    )


def _given(value: float | str) -> Number | None:
    return None if isinstance(value, str) else Number(value, "given with the job")


def _batch_size(base: BaseModel, examples: int) -> Number:
    """OpenAI's 0.2 %, within the 4 to 32 that LoRA learns well with (LoRA Without Regret)."""
    if base.is_tiny:
        return Number(8, "8 examples a step suit a base model this small")
    value = min(max(round(0.002 * examples), 4), 32)
    return Number(value, f"0.2 % of {examples} examples, but at least 4 and at most 32, which suits LoRA")


def _n_epochs(base: BaseModel, examples: int, batch_size: int) -> Number:
    if base.is_tiny:
        steps = ceil(examples / batch_size)
        value = min(max(round(_TINY_STEPS / steps), 1), _MOST_EPOCHS)
        return Number(value, f"a base model this small needs about {_TINY_STEPS} steps; one epoch has {steps}")
    if examples * _TARGET_EPOCHS < _FEWEST_SEEN:
        value = min(_MOST_EPOCHS, _FEWEST_SEEN // examples)
        return Number(value, f"few examples are read more often, until the model has seen about {_FEWEST_SEEN}")
    if examples * _TARGET_EPOCHS > _MOST_SEEN:
        value = max(1, _MOST_SEEN // examples)
        return Number(value, f"with {examples} examples, fewer epochs are enough")
    return Number(_TARGET_EPOCHS, "three epochs are enough to learn from, and too few to learn by heart")


def _learning_rate(base: BaseModel, multiplier: float) -> Number:
    if base.is_tiny:
        return _multiplied(_TINY_LEARNING_RATE, multiplier, f"{_TINY_LEARNING_RATE:g} suits a base model this small")
    exponents = [value for family, value in _TINKER_EXPONENT.items() if base.family.startswith(family)]
    scale = 2000 / base.hidden_size
    # For a family that nobody measured, the smaller of the two rates: too slow is better than diverging.
    rate = 5e-4 * min(scale**exponent for exponent in exponents or _TINKER_EXPONENT.values())
    return _multiplied(
        rate, multiplier, f"{rate:.2g} suits LoRA on a {base.family} model with {base.hidden_size} units a layer"
    )


def _multiplied(rate: float, multiplier: float, reason: str) -> Number:
    return Number(rate * multiplier, reason if multiplier == 1 else f"{reason}; times the multiplier {multiplier:g}")


def _adapter(base: BaseModel, continued: Adapter | None) -> tuple[Adapter, str]:
    """Ranks that vLLM serves (`max_lora_rank` is 16 where nobody sets it)."""
    if continued is not None:
        return continued, "as in the adapter that is trained further"
    if base.is_tiny:
        return Adapter(32, 64), "a base model this small needs a large adapter to change its answers"
    return Adapter(16, 32), "enough for a few thousand examples, and served by vLLM without settings"
