"""What the trainer and its caller agree on: one directory a job, and nothing else.

    JOB_DIR/spec.json            TrainingSpec, written by the caller before the start
    JOB_DIR/<training_file>      JSONL in OpenAI's chat or preference format, already validated line by line
    JOB_DIR/events.jsonl         one TrainingEvent a line, appended by the trainer, `sequence` counts from 1 without gaps
    JOB_DIR/checkpoints/step-N/  an adapter (or full weights) with optimizer state; complete once `manifest.json` exists
    JOB_DIR/reference.bin        method dpo, training type full: what the model said before the first step (`trainer.references`)
    JOB_DIR/wandb/               runs for Weights & Biases, where the job asks for them
    JOB_DIR/wandb.tmp/           what their library keeps beside: nobody's, once the trainer has ended
    JOB_DIR/adapter/             the final adapter, in PEFT's format (training types lora and qlora)
    JOB_DIR/model/               the final weights with tokenizer, in Hugging Face format (training type full)
    .../probe.json               in adapter/, model/ and every checkpoint: what the model says of one example (Probe), by which
                                 an engine shows that it serves these weights; left out where there was no memory for it
    JOB_DIR/result.json          TrainingResult, written last and atomically

`python -m trainer JOB_DIR` exits 0 when result.json says succeeded, 1 when it says failed, and 143 when it was asked to
stop with SIGTERM: then it has saved a checkpoint and written no result. Any other end without a result is a crash.
Started again on the same directory, it resumes from the newest complete checkpoint; `sequence` goes on from the last
complete line, and a step that is trained again may report its metrics again, so readers keep the last event of a step.
It stops as well when the process that started it has died, or the one that TRAINER_OWNER_PID names in its environment.

No ML import here: the gateway reads and writes these types.
"""

from typing import Literal

import msgspec

CONTRACT_VERSION = 2

SPEC = "spec.json"
EVENTS = "events.jsonl"
RESULT = "result.json"
PROBE = "probe.json"
CHECKPOINTS = "checkpoints"
ADAPTER = "adapter"
MODEL = "model"
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""What an engine loads of an adapter's directory; a checkpoint has more files beside them."""
CHECKPOINTS_KEPT = 3
"""The last ones that were announced, of finished epochs and of stops; OpenAI keeps the last three, too."""

STOPPED = 143
"""Exit status after SIGTERM (128 + 15)."""
STOP_SECONDS = 60.0
"""A trainer that does not stop within one optimizer step and a checkpoint is killed."""
OWNER = "TRAINER_OWNER_PID"
"""Environment variable: the caller's process id. A launcher in between (torchrun) would outlive it, and train on for nobody."""

Auto = Literal["auto"]
Method = Literal["supervised", "dpo"]
TrainingType = Literal["lora", "qlora", "full"]
"""What is trained: an adapter on the base model, an adapter on its 4-bit quantization, or all weights."""


class Wandb(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's wandb integration. The run is written offline, to JOB_DIR/wandb, to be synced later."""

    project: str
    name: str
    entity: str | None = None
    tags: tuple[str, ...] = ()


class TrainingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One fine-tuning job as the trainer sees it. Paths are relative to JOB_DIR unless absolute."""

    contract_version: int = CONTRACT_VERSION
    job_id: str
    base_model: str
    """A local directory in Hugging Face format (or an id in the local Hugging Face cache)."""
    method: Method = "supervised"
    training_file: str = "training.jsonl"
    validation_file: str | None = None
    n_epochs: int | Auto = "auto"
    batch_size: int | Auto = "auto"
    """Examples per optimizer step."""
    learning_rate_multiplier: float | Auto = "auto"
    """Scales the automatic learning rate (OpenAI's meaning)."""
    beta: float | Auto = "auto"
    """DPO: how strongly the model is held to its reference."""
    training_type: TrainingType | Auto = "auto"
    lora_rank: int | Auto = "auto"
    lora_alpha: int | Auto = "auto"
    context_length: int | Auto = "auto"
    """Tokens; longer examples are cut at the end."""
    packing: bool | Auto = "auto"
    """Several short examples in one row, each seeing only itself."""
    gradient_checkpointing: bool | Auto = "auto"
    """Compute activations again rather than keep them."""
    largest_micro_batch: int | None = None
    """Examples at once; set by the caller after a process was killed for its memory."""
    seed: int = 0
    continue_from: str | None = None
    """Directory of an adapter (or of full weights) to go on training, or None to start from the base model."""
    wandb: Wandb | None = None


GIVEN = "given with the job"
"""In `Hyperparameters.reasons`: nothing was chosen."""


class Hyperparameters(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers a run was made with, after every "auto" was resolved."""

    n_epochs: int
    batch_size: int
    learning_rate_multiplier: float
    learning_rate: float
    beta: float | None = None
    """DPO only."""
    training_type: TrainingType = "lora"
    lora_rank: int | None
    """None for training type full."""
    lora_alpha: int | None
    context_length: int
    """Tokens; longer examples are cut at the end."""
    packing: bool = False
    gradient_checkpointing: bool = False
    micro_batch: int | None = None
    """Examples at once: `batch_size` is this times the accumulation times the devices."""
    reasons: dict[str, str] = {}
    """Hyperparameter name -> why it has this value, for a reader without ML background."""


class DataSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What the tokenizer made of a file."""

    examples: int
    tokens: int
    """Tokens of all examples after truncation, once (not times epochs)."""
    label_tokens: int
    """Tokens that carry loss."""
    truncated: int
    """Examples longer than the context that were cut at the end."""
    skipped: int
    """Examples left without any token to learn from after truncation; not trained on."""
    expanded: int = 0
    """Examples that became one sequence for each answer, because the chat template writes an answer differently once
    others follow (`trainer/turns.py`)."""


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """Token-weighted losses (nats per label token) and accuracies (0..1) at one optimizer step."""

    step: int
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None
    """On one validation batch."""
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    """On the whole validation file: at the end of each epoch."""
    full_valid_mean_token_accuracy: float | None = None
    train_reward_accuracy: float | None = None
    """DPO: share of the pairs whose preferred answer gained more against the reference than the other."""
    train_reward_margin: float | None = None
    """DPO: by how much, beta times nats, on average."""
    full_valid_reward_accuracy: float | None = None
    full_valid_reward_margin: float | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    sequence: int
    created_at: float
    """Unix seconds."""


class Started(Event, frozen=True, kw_only=True, tag="started"):
    """The data is read, every "auto" has its number, training begins (or goes on after `resumed_step`)."""

    hyperparameters: Hyperparameters
    training: DataSummary
    validation: DataSummary | None = None
    total_steps: int
    trained_tokens: int
    """Tokens of all examples times epochs: what OpenAI bills."""
    device: str
    resumed_step: int = 0


class StepMetrics(Event, frozen=True, kw_only=True, tag="metrics"):
    metrics: Metrics
    total_steps: int
    learning_rate: float
    tokens_per_second: float
    """Measured over this process, padding not counted."""
    seconds_left: float | None = None
    memory_bytes: int | None = None
    """The most so far: of the device (CUDA), else of the process."""
    device_memory_bytes: int | None = None
    """What there is: on the device (CUDA), else in the machine."""


class CheckpointSaved(Event, frozen=True, kw_only=True, tag="checkpoint"):
    path: str
    """Relative to JOB_DIR."""
    step: int
    epoch: int
    metrics: Metrics


class Message(Event, frozen=True, kw_only=True, tag="message"):
    level: Literal["info", "warn", "error"]
    message: str


TrainingEvent = Started | StepMetrics | CheckpointSaved | Message


class Succeeded(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag="succeeded"):
    output: str = ADAPTER
    """Directory relative to JOB_DIR: ADAPTER, or MODEL for training type full."""
    trained_tokens: int
    steps: int
    metrics: Metrics
    seconds: float
    """Spent on the job, over all its processes."""
    tokens_per_second: float | None = None
    """Of the last process, padding not counted."""
    peak_memory_bytes: int | None = None
    """Of the device (CUDA) or of the process (CPU)."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="status", tag="failed"):
    code: str
    """OpenAI's where it has one: invalid_training_file, invalid_validation_file, invalid_n_examples. Else invalid_hyperparameters,
    invalid_model, model_not_found, out_of_memory, training_diverged, server_error."""
    message: str
    param: Literal["training_file", "validation_file"] | None = None
    too_many_at_once: int | None = None
    """So many examples did not fit, and another start with a smaller largest_micro_batch may succeed. Several devices
    cannot begin anew by themselves: the others wait in the middle of a step."""


TrainingResult = Succeeded | Failed


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What trained weights say of one training example, measured by the trainer itself (`trainer/probe.py`)."""

    token_ids: list[int]
    """A prompt and its answer as the model was trained on them: PROBE_TOKENS at most, two at least."""
    first: int
    """`logprobs` are of token_ids[first:]; at least 1."""
    logprobs: list[float]
    """Natural logarithm of the probability of each of them after those before it, without dropout."""
    base_logprobs: list[float] | None
    """The same with the adapter switched off; None for training type full."""
    dtype: str
    """What it was computed in: float32, bfloat16, float16, or nf4 for an adapter on the 4-bit base. The engine serves nf4's
    adapter on the unquantized base, whose numbers are others."""


PROBE_TOKENS = 128

encode = msgspec.json.Encoder().encode
decode_spec = msgspec.json.Decoder(TrainingSpec).decode
decode_event = msgspec.json.Decoder(TrainingEvent).decode
decode_result = msgspec.json.Decoder(TrainingResult).decode
decode_probe = msgspec.json.Decoder(Probe).decode


# ---- Before a job: `python -m trainer.describe_hardware` prints a HardwareDescription; `python -m trainer.estimate` reads an
# ---- EstimateCall from standard input and prints an Estimate, without loading any ML library.


class HardwareDescription(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine trains on."""

    device: Literal["cpu", "cuda", "mps"]
    name: str
    """As in Started.device: the estimates' measured speeds are found by it."""
    devices: int
    memory_bytes: int
    """Of one device; of the machine for a CPU."""
    dtype: Literal["float32", "bfloat16", "float16"]
    flops_per_second: float
    """Of one device, measured with a matrix product in `dtype`."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """What an earlier job measured with the same base model, method and device."""

    training_type: TrainingType
    tokens_per_second: float
    peak_memory_bytes: int | None = None


class EstimateCall(msgspec.Struct, frozen=True, kw_only=True):
    spec: TrainingSpec
    examples: int
    tokens: int
    """Of all examples, once, before anything is cut. For DPO: of both sequences of every pair."""
    longest: int
    """Tokens of the longest example; for DPO, of the prompt and one answer."""
    hardware: HardwareDescription
    speeds: list[Speed] = []
    usd_per_hour: float | None = None
    """Of one device."""
    usd_per_million_tokens: float | None = None
    """Of those trained."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes on one device at the peak."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    total: int
    """With what the libraries take themselves."""


class EstimateOption(msgspec.Struct, frozen=True, kw_only=True):
    """One training type with this data on this machine."""

    training_type: TrainingType
    trainable_parameters: int
    micro_batch: int
    gradient_checkpointing: bool
    tokens_per_second: float
    speed_source: Literal["measured", "computed"]
    seconds: float
    cost_usd: float | None
    memory_bytes: Memory
    fits: bool
    disk_bytes: int
    """Checkpoints and result together, at the most."""
    advice: str | None
    """What to change where it does not fit."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    base_parameters: int
    hyperparameters: Hyperparameters
    examples: int
    tokens: int
    """Once, after cutting at the context length."""
    trained_tokens: int
    """Times epochs: what OpenAI bills."""
    steps: int
    hardware: HardwareDescription
    options: list[EstimateOption]
    recommended: TrainingType
    """What training type "auto" means here."""


decode_estimate_call = msgspec.json.Decoder(EstimateCall).decode
decode_estimate = msgspec.json.Decoder(Estimate).decode
decode_hardware = msgspec.json.Decoder(HardwareDescription).decode
