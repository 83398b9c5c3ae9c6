"""From "auto" to numbers, each with a reason that a person without ML background can read. No ML library.

Sources, by name below:
- OpenAI: the constants of its fine-tuning cookbook (3 epochs; between 100 and 25,000 examples in all epochs together;
  at most 25 epochs) and of its batch size rule (0.2 % of the examples).
- LoRA Without Regret (Thinking Machines; also in TRL's documentation): adapters on all linear layers, small batches,
  a learning rate that hardly depends on the rank.
- Tinker: `5e-5 * 10 * (2000 / hidden size) ** exponent`, the exponent 0.781 fitted on Llama and 0.0775 on Qwen models;
  training all weights takes a tenth of the rate of an adapter (`get_lora_lr_over_full_finetune_lr`).
- TRL: preference pairs are read once, beta is 0.1, the learning rate 5e-6 with an adapter and 5e-7 without (its table
  for DPO).
- LLaMA-Factory: 16 GB of memory train a 16-bit adapter on 7 billion parameters (its table of estimates).
- Measured: on the starter model (hidden size 192), rank 32, learning rate 3e-3 and about 300 steps reach exact answers;
  all weights, 3e-3 and 84 steps reached a validation loss of 0.011 on the demo's data, 3e-4 one of 0.77 (one run each).
  With 80 pairs of two greetings that it knows, 50 steps of DPO at 1e-4 (all weights: 2e-5) make all 30 held-out greetings
  the preferred ones, at a margin of 0.5 (0.3). After 100 steps, or at three times the rate, the margin is above 1, and it
  repeats words ("Nice to meet to meet you").
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple

from trainer.contract import GIVEN, Hyperparameters, Method, TrainingSpec, TrainingType
from trainer.failures import impossible

MINIMUM_EXAMPLES = 10
"""OpenAI refuses fewer."""

_TINY = 256
"""Hidden size up to which a base model is so small that it needs large updates."""
_TINY_STEPS: dict[Method, int] = {"supervised": 300, "dpo": 50}
_TINY_LEARNING_RATE: dict[Method, dict[TrainingType, float]] = {
    "supervised": {"lora": 3e-3, "qlora": 3e-3, "full": 3e-3},
    "dpo": {"lora": 1e-4, "qlora": 1e-4, "full": 2e-5},
}
_FULL_SHARE = 0.1
_DPO_LEARNING_RATE: dict[TrainingType, float] = {"lora": 5e-6, "qlora": 5e-6, "full": 5e-7}
_DPO_BETA = 0.1

_LARGE_MODEL = 1_000_000_000
"""Parameters from which activations are computed again rather than kept (about 30 % slower, far less memory)."""
_LORA_BYTES = 16 / 7
"""Memory for each parameter of a base model in 16 bit while an adapter is trained (LLaMA-Factory)."""
_USABLE = 0.9
"""Share of a device's memory that training can have; the rest is fragmentation and the libraries' own."""

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


class Machine(NamedTuple):
    device: Literal["cpu", "cuda", "mps"] = "cpu"
    memory_bytes: int | None = None
    """Of one CUDA device; elsewhere the rules do not ask."""


_A_CPU = Machine()


class Number(NamedTuple):
    value: float
    reason: str


def context_length(base: BaseModel, device: str, spec: TrainingSpec | None = None) -> Number:
    """Tokens at which examples are cut. A cap costs nothing where examples are shorter, and bounds memory.

    Raises TrainingFailed where `spec` asks for more than the model reads."""
    if spec is not None and (given := _given(spec.context_length)):
        if given.value > base.longest_context:
            raise impossible(
                "context_length", f"the base model reads at most {base.longest_context} tokens", "Ask for no more"
            )
        return given
    cap = _LONGEST[device]
    if base.longest_context <= cap:
        return Number(base.longest_context, f"the base model reads at most {base.longest_context} tokens")
    return Number(cap, f"{cap} tokens are the most that this trainer takes on {device}")


def resolve(
    spec: TrainingSpec,
    base: BaseModel,
    *,
    examples: int,
    context: Number,
    continued: Adapter | None = None,
    machine: Machine = _A_CPU,
) -> Hyperparameters:
    """Every number of a run but `packing` and `micro_batch`, which depend on the lengths of the examples; a value that
    the spec gives wins over the rule.

    `examples` are those that are trained on. `continued` is the shape of the adapter that training goes on with.
    Raises TrainingFailed for values that exclude each other.
    """
    kind, kind_reason = _training_type(spec, base, machine)
    numbers = _numbers(spec, base, kind, examples) | {"context_length": context}
    adapter, adapter_reasons = _adapter(spec, base, kind, continued)
    (recomputes, recomputes_reason), (beta, beta_reasons) = _gradient_checkpointing(spec, base), _beta(spec)
    return Hyperparameters(
        n_epochs=int(numbers["n_epochs"].value),
        batch_size=int(numbers["batch_size"].value),
        learning_rate_multiplier=numbers["learning_rate_multiplier"].value,
        learning_rate=numbers["learning_rate"].value,
        beta=beta,
        training_type=kind,
        lora_rank=adapter and adapter.rank,
        lora_alpha=adapter and adapter.alpha,
        context_length=int(context.value),
        packing=_packing(spec),
        gradient_checkpointing=recomputes,
        reasons={
            **{name: number.reason for name, number in numbers.items()},
            "training_type": kind_reason,
            "packing": GIVEN if spec.packing != "auto" else "every example has a row of its own",
            "gradient_checkpointing": recomputes_reason,
            **adapter_reasons,
            **beta_reasons,
        },
    )


def _numbers(spec: TrainingSpec, base: BaseModel, kind: TrainingType, examples: int) -> dict[str, Number]:
    """How often, how many at once, and how fast."""
    batch_size = _given(spec.batch_size) or _batch_size(base, examples)
    multiplier = _given(spec.learning_rate_multiplier) or Number(1.0, "the automatic learning rate is used as it is")
    return {
        "n_epochs": _given(spec.n_epochs) or _n_epochs(spec, base, examples, int(batch_size.value)),
        "batch_size": batch_size,
        "learning_rate_multiplier": multiplier,
        "learning_rate": _learning_rate(spec, base, kind, multiplier.value),
    }


def _given(value: float | str) -> Number | None:
    return None if isinstance(value, str) else Number(value, GIVEN)


def recommended_type(base: BaseModel, machine: Machine) -> TrainingType:
    """What training type "auto" means for this base model on this machine."""
    return _recommended_type(base, machine)[0]


def _training_type(spec: TrainingSpec, base: BaseModel, machine: Machine) -> tuple[TrainingType, str]:
    return _recommended_type(base, machine) if spec.training_type == "auto" else (spec.training_type, GIVEN)


def _recommended_type(base: BaseModel, machine: Machine) -> tuple[TrainingType, str]:
    """An adapter, which on 16-bit weights is as good as training all of them for all but very large data (LoRA Without
    Regret); on 4-bit weights where those of 16 bit do not fit onto the device."""
    needed = base.parameters * _LORA_BYTES
    if machine.device == "cuda" and machine.memory_bytes and needed > machine.memory_bytes * _USABLE:
        needs, has = f"{needed / 1e9:.0f} GB", f"{machine.memory_bytes / 1e9:.0f} GB"
        return "qlora", f"in 16 bit the base model would take about {needs} to train, and this device has {has}"
    return "lora", "a small addition to the base model learns as well as changing all of it, and takes far less memory"


def _gradient_checkpointing(spec: TrainingSpec, base: BaseModel) -> tuple[bool, str]:
    if spec.gradient_checkpointing != "auto":
        return spec.gradient_checkpointing, GIVEN
    if base.parameters >= _LARGE_MODEL:
        return True, "a base model this large trains slower with it, but in far less memory"
    return False, "a base model this small fits into memory without it, and trains faster"


def _packing(spec: TrainingSpec) -> bool:
    if spec.packing is True and spec.method == "dpo":
        raise impossible("packing", "pairs of answers are not packed", "Leave it out")
    return spec.packing is True


def _beta(spec: TrainingSpec) -> tuple[float | None, dict[str, str]]:
    given = _given(spec.beta)
    if spec.method == "dpo":
        beta = given or Number(_DPO_BETA, "the usual strength with which the model is held to where it started")
        return beta.value, {"beta": beta.reason}
    if given:
        raise impossible("beta", "supervised training compares no answers", "Leave it out, or take the method dpo")
    return None, {}


def _batch_size(base: BaseModel, examples: int) -> Number:
    """OpenAI's 0.2 %, within the 4 to 32 that LoRA learns well with (LoRA Without Regret)."""
    if base.is_tiny:
        return Number(8, "8 examples a step suit a base model this small")
    value = min(max(round(0.002 * examples), 4), 32)
    return Number(value, f"0.2 % of {examples} examples, but at least 4 and at most 32, which suits LoRA")


def _n_epochs(spec: TrainingSpec, base: BaseModel, examples: int, batch_size: int) -> Number:
    if base.is_tiny:
        steps, wanted = ceil(examples / batch_size), _TINY_STEPS[spec.method]
        value = min(max(round(wanted / steps), 1), _MOST_EPOCHS)
        return Number(value, f"a base model this small needs about {wanted} steps; one epoch has {steps}")
    if spec.method == "dpo":
        return _preference_epochs(examples)
    if examples * _TARGET_EPOCHS < _FEWEST_SEEN:
        value = min(_MOST_EPOCHS, _FEWEST_SEEN // examples)
        return Number(value, f"few examples are read more often, until the model has seen about {_FEWEST_SEEN}")
    if examples * _TARGET_EPOCHS > _MOST_SEEN:
        value = max(1, _MOST_SEEN // examples)
        return Number(value, f"with {examples} examples, fewer epochs are enough")
    return Number(_TARGET_EPOCHS, "three epochs are enough to learn from, and too few to learn by heart")


def _preference_epochs(examples: int) -> Number:
    if 2 * examples <= _FEWEST_SEEN:
        value = min(_MOST_EPOCHS, _FEWEST_SEEN // examples)
        return Number(value, f"few pairs are read more often, until the model has seen about {_FEWEST_SEEN}")
    return Number(1, "preferences are learnt by reading every pair once; more reading makes answers worse")


def _learning_rate(spec: TrainingSpec, base: BaseModel, kind: TrainingType, multiplier: float) -> Number:
    if base.is_tiny:
        rate = _TINY_LEARNING_RATE[spec.method][kind]
        return _multiplied(rate, multiplier, f"{rate:g} suits a base model this small")
    if spec.method == "dpo":
        rate = _DPO_LEARNING_RATE[kind]
        return _multiplied(rate, multiplier, f"{rate:g} is careful enough to change preferences and nothing else")
    exponents = [value for family, value in _TINKER_EXPONENT.items() if base.family.startswith(family)]
    scale = 2000 / base.hidden_size
    # For a family that nobody measured, the smaller of the two rates: too slow is better than diverging.
    rate = 5e-4 * min(scale**exponent for exponent in exponents or _TINKER_EXPONENT.values())
    fits = f"a {base.family} model with {base.hidden_size} units a layer"
    if kind == "full":
        rate *= _FULL_SHARE
        return _multiplied(rate, multiplier, f"{rate:.2g} suits training all weights of {fits}: a tenth of LoRA's")
    return _multiplied(rate, multiplier, f"{rate:.2g} suits LoRA on {fits}")


def _multiplied(rate: float, multiplier: float, reason: str) -> Number:
    return Number(rate * multiplier, reason if multiplier == 1 else f"{reason}; times the multiplier {multiplier:g}")


def _adapter(
    spec: TrainingSpec, base: BaseModel, kind: TrainingType, continued: Adapter | None
) -> tuple[Adapter | None, dict[str, str]]:
    """Ranks that vLLM serves (`max_lora_rank` is 16 where nobody sets it)."""
    rank, alpha = _given(spec.lora_rank), _given(spec.lora_alpha)
    if kind == "full":
        for field, given in (("lora_rank", rank), ("lora_alpha", alpha)):
            if given:
                raise impossible(field, "training type full has no adapter", "Leave it out, or take training type lora")
        return None, {}
    if continued is not None:
        for field, given, there in (("lora_rank", rank, continued.rank), ("lora_alpha", alpha, continued.alpha)):
            if given and given.value != there:
                why = f"the adapter that is trained further has {there}"
                raise impossible(field, why, "Leave it out, or start from the base model")
        return continued, dict.fromkeys(("lora_rank", "lora_alpha"), "as in the adapter that is trained further")
    rank = rank or _rank(base)
    alpha = alpha or Number(2 * rank.value, "2 times the rank")
    return Adapter(int(rank.value), int(alpha.value)), {"lora_rank": rank.reason, "lora_alpha": alpha.reason}


def _rank(base: BaseModel) -> Number:
    if base.is_tiny:
        return Number(32, "a base model this small needs a large adapter to change its answers")
    return Number(16, "enough for a few thousand examples, and served by vLLM without settings")
