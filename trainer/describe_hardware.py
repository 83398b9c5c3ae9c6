"""`python -m trainer.describe_hardware` prints what this machine trains on, as a HardwareDescription.

Operations a second are measured: the fastest of a few matrix products in the numbers that training uses.
"""

import sys
import time

import torch

from trainer import hardware
from trainer.contract import HardwareDescription, encode

SIDE = {"cpu": 1024, "mps": 2048, "cuda": 8192}
"""Rows and columns of the matrices."""
ROUNDS = 5


def describe() -> HardwareDescription:
    """Takes a second or two."""
    found = hardware.detect()
    torch.set_num_threads(found.threads)
    return HardwareDescription(
        device=found.device,
        name=str(found),
        devices=torch.cuda.device_count() if found.device == "cuda" else 1,
        memory_bytes=hardware.memory_bytes(found.device),
        dtype=str(found.dtype).removeprefix("torch."),  # pyright: ignore[reportArgumentType]
        flops_per_second=_operations_per_second(found.device, found.dtype),
    )


def _operations_per_second(device: hardware.Device, dtype: torch.dtype) -> float:
    side = SIDE[device]
    matrix = torch.randn(side, side, device=device).to(dtype)
    best = min(_seconds_of_one(matrix) for _ in range(ROUNDS))
    return 2 * side**3 / best


def _seconds_of_one(matrix: torch.Tensor) -> float:
    """`item()` waits until the device is done."""
    began = time.perf_counter()
    (matrix @ matrix)[0, 0].item()
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.stdout.buffer.write(encode(describe()))
