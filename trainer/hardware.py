"""What this machine trains on, and how much of a batch it takes at once."""

import os
import resource
import sys
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate.utils import is_bf16_available

from trainer.memory import micro_batch

Device = Literal["cpu", "cuda", "mps"]


@dataclass(frozen=True, kw_only=True)
class Hardware:
    device: Device
    dtype: torch.dtype
    """Of the base model's weights and of the arithmetic; the adapter's own weights are float32 everywhere."""
    threads: int
    name: str
    memory_bytes: int | None = None
    """Of one CUDA device."""

    def __str__(self) -> str:
        return f"{self.name} ({str(self.dtype).removeprefix('torch.')})"

    def micro_batch(self, batch_size: int, longest: int) -> int:
        """Examples at once (trainer/memory.py)."""
        return micro_batch(self.device, batch_size, longest)


def detect() -> Hardware:
    """The best device of this machine: a CUDA GPU (the first visible one), Apple's GPU, else the CPU.

    CPU: float32, because bfloat16 is emulated on most of them and a resumed run must repeat the same numbers bit for
    bit. GPUs: bfloat16 where it is supported, else float16 with loss scaling (CUDA) or float32 (Apple).
    """
    if torch.cuda.is_available():
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
        return Hardware(
            device="cuda",
            dtype=dtype,
            threads=_threads(),
            name=torch.cuda.get_device_name(0),
            memory_bytes=torch.cuda.get_device_properties(0).total_memory,
        )
    if torch.backends.mps.is_available():
        dtype = torch.bfloat16 if is_bf16_available() else torch.float32
        return Hardware(device="mps", dtype=dtype, threads=_threads(), name="Apple GPU")
    threads = _threads()
    return Hardware(device="cpu", dtype=torch.float32, threads=threads, name=f"CPU, {threads} threads")


def peak_memory_bytes(device: Device) -> int:
    """The most that this process has had: of the device (CUDA), else of the machine."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kept if sys.platform == "darwin" else kept * 1024


def memory_bytes(device: Device) -> int:
    """What there is: on one device (CUDA), else in the machine."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _threads() -> int:
    """OMP_NUM_THREADS where it is set, else the cores this process may run on."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
