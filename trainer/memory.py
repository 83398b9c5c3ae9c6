"""How much memory and how many operations a training takes, computed before it starts. No ML library.

Sources:
- weights, gradients and Adam's two moments per parameter: EleutherAI, "Transformer Math 101"
  (https://blog.eleuther.ai/transformer-math/); bytes are those of the numbers that trainer/model.py really keeps.
- 4-bit weights: QLoRA (Dettmers et al. 2023, arXiv 2305.14314, section 3): nf4 with double quantization takes 4.127 bits.
- activations: Korthikanti et al. 2022, arXiv 2205.05198, table 2: `34 · s · b · h` bytes a layer in 16 bit. On GPUs the
  part that grows with s² is not there, because attention is computed blockwise; on CPUs the weights of attention are kept
  once. With recomputation, `2 · s · b · h` a layer are kept and one layer at a time has its full activations.
- operations: Kaplan et al. 2020, arXiv 2001.08361: 2 per parameter and token forward, 4 backward. An adapter needs no
  gradients of the base's weights: 4 instead of 6 in all. Recomputation adds one forward pass.
"""

from trainer.contract import Memory, Method, TrainingType
from trainer.weights import Shape

FOUR_BIT = 4.127 / 8
"""Bytes of one parameter."""
ACTIVATION_BYTES = 34
"""Per token, hidden unit and layer, in 16 bit."""
TRAINED_BYTES = 4
"""What is trained is float32 everywhere: adapters, and all weights in full training."""
PROCESS_BYTES = {"cpu": 600_000_000, "mps": 0, "cuda": 600_000_000}
"""What the libraries take before there is a model: measured on a CPU; on CUDA the context and its kernels."""
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
TOKENS_AT_ONCE = {"cpu": 8_192, "mps": 4_096, "cuda": 16_384}
"""Padded tokens of one forward and backward pass: where throughput stops growing, and little enough for the memory of
a common card with a 7B model. Too much is found out at run time and halved (`trainer.run`)."""
USABLE = 0.9
"""Share of a device's memory that a training can have; the rest is fragmentation and the libraries' own."""


def micro_batch(device: str, batch_size: int, longest: int) -> int:
    """Examples at once: the largest divisor of `batch_size` whose padded tokens fit, so that every optimizer step still
    sees exactly `batch_size` examples."""
    fitting = max(1, TOKENS_AT_ONCE[device] // longest)
    return max(size for size in range(1, batch_size + 1) if batch_size % size == 0 and size <= fitting)


def trainable_parameters(shape: Shape, kind: TrainingType, rank: int) -> int:
    return shape.parameters if kind == "full" else shape.lora_parameters(rank)


def peak(
    shape: Shape,
    kind: TrainingType,
    *,
    rank: int,
    device: str,
    dtype: str,
    rows: int,
    row_tokens: int,
    gradient_checkpointing: bool,
) -> Memory:
    """Bytes at the peak of a step with `rows` sequences of `row_tokens` tokens in one pass."""
    size, tokens = DTYPE_BYTES[dtype], rows * row_tokens
    trainable = trainable_parameters(shape, kind, rank)
    weights = trainable * TRAINED_BYTES + (0 if kind == "full" else _base_bytes(shape, kind, size))
    per_layer = ACTIVATION_BYTES * size // 2 * shape.hidden_size * tokens
    if device == "cpu":
        per_layer += size * shape.heads * row_tokens * tokens
    kept = size * shape.hidden_size * tokens
    parts = {
        "weights": round(weights),
        "gradients": trainable * TRAINED_BYTES,
        "optimizer": 2 * trainable * TRAINED_BYTES,
        "activations": kept * shape.layers + per_layer if gradient_checkpointing else per_layer * shape.layers,
    }
    return Memory(**parts, total=sum(parts.values()) + PROCESS_BYTES[device])


def _base_bytes(shape: Shape, kind: TrainingType, size: int) -> float:
    if kind == "qlora":
        return shape.linear_parameters * FOUR_BIT + (shape.parameters - shape.linear_parameters) * size
    return shape.parameters * size


def operations_per_token(shape: Shape, kind: TrainingType, method: Method, *, gradient_checkpointing: bool) -> float:
    """Floating point operations for one trained token.

    DPO's reference adds a forward pass over the same tokens. Its tokens count both sequences of a pair.
    """
    passes = 6 if kind == "full" else 4
    passes += 2 * gradient_checkpointing + 2 * (method == "dpo")
    return passes * shape.parameters


def disk(shape: Shape, kind: TrainingType, *, rank: int, dtype: str, checkpoints: int) -> int:
    """Bytes of the kept checkpoints (weights and Adam's moments) and of the result."""
    trainable = trainable_parameters(shape, kind, rank)
    result = DTYPE_BYTES[dtype] if kind == "full" else TRAINED_BYTES
    return trainable * (3 * TRAINED_BYTES * checkpoints + result)
