"""What a job will take, before it starts: `python -m trainer.estimate` reads an EstimateCall (trainer/contract.py) from
standard input and prints an Estimate. No ML library is loaded; the base model's files are read for their sizes alone.

Time is trained tokens / (tokens a second) + the start of the process. The speed is the one that the last job of the same
kind measured on this device; until there is one, it is computed: the device's measured operations a second, times the
share of them that training reaches, over the operations of a token (`trainer.memory`). Memory is `trainer.memory.peak`.
"""

import sys
from collections.abc import Iterator
from math import ceil
from pathlib import Path
from typing import Literal, get_args

from trainer import memory
from trainer.contract import (
    CHECKPOINTS_KEPT,
    Estimate,
    EstimateCall,
    EstimateOption,
    HardwareDescription,
    Hyperparameters,
    Memory,
    Speed,
    TrainingType,
    decode_estimate_call,
    encode,
)
from trainer.hyperparameters import BaseModel, Machine, context_length, recommended_type, resolve
from trainer.weights import Shape, read_shape

REACHED = {"cpu": 0.15, "mps": 0.25, "cuda": 0.35}
"""Share of a matrix product's operations a second that training reaches ("model FLOPs utilization"): about a third on
GPUs (TRL's and torchtune's published runs), less where small matrices and Python count."""
QLORA_SPEED = 0.78
"""Of LoRA's: 4-bit weights are unpacked for every product (torchtune's README, Llama-3.1-8B: 2413 against 3083 tokens/s)."""
START_SECONDS = 12.0
"""Importing the libraries, reading the data, saving the result."""
DEFAULT_RANK = 16


def estimate(call: EstimateCall) -> Estimate:
    """Raises OSError or ValueError where the base model's files cannot be read."""
    shape = read_shape(_directory(call.spec.base_model))
    base = BaseModel(
        family=shape.family,
        hidden_size=shape.hidden_size,
        longest_context=shape.longest_context or sys.maxsize,
        parameters=shape.parameters,
    )
    context = context_length(base, call.hardware.device, call.spec)
    machine = Machine(call.hardware.device, call.hardware.memory_bytes)
    chosen = resolve(call.spec, base, examples=call.examples, context=context, machine=machine)
    tokens = min(call.tokens, call.examples * _sequences(call) * chosen.context_length)
    options = [_option(call, shape, chosen, kind, tokens) for kind in get_args(TrainingType)]
    return Estimate(
        base_parameters=shape.parameters,
        hyperparameters=chosen,
        examples=call.examples,
        tokens=tokens,
        trained_tokens=tokens * chosen.n_epochs,
        steps=ceil(call.examples / chosen.batch_size) * chosen.n_epochs,
        hardware=call.hardware,
        options=options,
        recommended=recommended_type(base, machine),
    )


def _directory(base_model: str) -> Path:
    """A directory, or where the local Hugging Face cache keeps an id."""
    if Path(base_model).is_dir():
        return Path(base_model)
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(base_model, local_files_only=True))


def _sequences(call: EstimateCall) -> int:
    """In one example: DPO trains on both answers to a prompt."""
    return 2 if call.spec.method == "dpo" else 1


def _option(
    call: EstimateCall, shape: Shape, chosen: Hyperparameters, kind: TrainingType, tokens: int
) -> EstimateOption:
    hardware, rank = call.hardware, chosen.lora_rank or DEFAULT_RANK
    row = min(call.longest, chosen.context_length)
    micro_batch, recomputes, needed = _smallest(call, shape, chosen, kind, row)
    fits = needed.total <= memory.USABLE * hardware.memory_bytes
    speed, source = _speed(call, shape, kind, recomputes)
    seconds = START_SECONDS + tokens * chosen.n_epochs / speed
    return EstimateOption(
        training_type=kind,
        trainable_parameters=memory.trainable_parameters(shape, kind, rank),
        micro_batch=micro_batch,
        gradient_checkpointing=recomputes,
        tokens_per_second=round(speed, 1),
        speed_source=source,
        seconds=round(seconds, 1),
        cost_usd=_cost(call, seconds, tokens * chosen.n_epochs),
        memory_bytes=needed,
        fits=fits,
        disk_bytes=memory.disk(shape, kind, rank=rank, dtype=hardware.dtype, checkpoints=CHECKPOINTS_KEPT),
        advice=None if fits else _advice(kind, needed, hardware),
    )


def _smallest(
    call: EstimateCall, shape: Shape, chosen: Hyperparameters, kind: TrainingType, row: int
) -> tuple[int, bool, Memory]:
    """(micro-batch, gradient checkpointing, memory) that the trainer ends up with: it halves the micro-batch, and then
    computes activations again, until a step fits."""
    for micro_batch, recomputes in _tries(call, chosen, row):
        needed = memory.peak(
            shape,
            kind,
            rank=chosen.lora_rank or DEFAULT_RANK,
            device=call.hardware.device,
            dtype=call.hardware.dtype,
            rows=micro_batch * _sequences(call),
            row_tokens=row,
            gradient_checkpointing=recomputes,
        )
        found = micro_batch, recomputes, needed
        if needed.total <= memory.USABLE * call.hardware.memory_bytes:
            break
    return found  # pyright: ignore[reportPossiblyUnboundVariable] there is always one to try


def _tries(call: EstimateCall, chosen: Hyperparameters, row: int) -> Iterator[tuple[int, bool]]:
    """From the fastest to the smallest."""
    micro_batch = memory.micro_batch(call.hardware.device, chosen.batch_size, row * _sequences(call))
    while micro_batch > 1:
        yield micro_batch, chosen.gradient_checkpointing
        micro_batch //= 2
    if call.spec.gradient_checkpointing == "auto" and not chosen.gradient_checkpointing:
        yield 1, False
    yield 1, call.spec.gradient_checkpointing is not False


def _speed(
    call: EstimateCall, shape: Shape, kind: TrainingType, recomputes: bool
) -> tuple[float, Literal["measured", "computed"]]:
    """Tokens a second, and where the number comes from."""
    measured = _measured(call.speeds, kind)
    if measured is not None:
        return measured.tokens_per_second, "measured"
    operations = memory.operations_per_token(shape, kind, call.spec.method, gradient_checkpointing=recomputes)
    hardware = call.hardware
    reached = REACHED[hardware.device] * (QLORA_SPEED if kind == "qlora" else 1)
    return hardware.flops_per_second * hardware.devices * reached / operations, "computed"


def _measured(speeds: list[Speed], kind: TrainingType) -> Speed | None:
    return next((speed for speed in speeds if speed.training_type == kind), None)


def _cost(call: EstimateCall, seconds: float, trained_tokens: int) -> float | None:
    """To a millionth of a dollar; None where nothing has a price."""
    if call.usd_per_hour is None and call.usd_per_million_tokens is None:
        return None
    of_time = (call.usd_per_hour or 0.0) * call.hardware.devices * seconds / 3600
    return round(of_time + (call.usd_per_million_tokens or 0.0) * trained_tokens / 1_000_000, 6)


def _advice(kind: TrainingType, needed: Memory, hardware: HardwareDescription) -> str:
    lack = f"It needs about {_gigabytes(needed.total)}, {hardware.name} has {_gigabytes(hardware.memory_bytes)}."
    if kind == "full":
        return f"{lack} Train an adapter instead: training type lora, or qlora."
    if kind == "lora":
        return f"{lack} Use training type qlora, which keeps the base model in 4 bit, or shorten the longest examples."
    return f"{lack} Shorten the longest examples (context_length), take a smaller base model, or a larger device."


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


if __name__ == "__main__":
    sys.stdout.buffer.write(encode(estimate(decode_estimate_call(sys.stdin.buffer.read()))))
