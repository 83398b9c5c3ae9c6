"""Several processes that train one model together, one on each device, as torchrun starts them; `accelerate launch
--multi_gpu` is torchrun, too (without GPUs it starts one process only).

Each has the whole model and its share of every optimizer step's examples. The first one alone writes: events, checkpoints,
the result. With one process, which is the usual case, everything here does nothing.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import torch
from accelerate import PartialState
from torch import distributed

T = TypeVar("T")


def count() -> int:
    """Set by the launcher (torchrun's name)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def is_first() -> bool:
    return rank() == 0


@contextmanager
def connected(*, cpu: bool) -> Generator[None]:
    """The block begins when all processes are there. Once in a process, around everything else here."""
    if count() == 1:
        yield
        return
    state = PartialState(cpu=cpu)
    try:
        yield
    finally:
        state.destroy_process_group()


def wait_for_all() -> None:
    """Returns when every process has called it."""
    if count() > 1:
        distributed.barrier()


def add_up(sums: torch.Tensor) -> torch.Tensor:
    """Each process's numbers -> their sum, in all of them."""
    if count() > 1:
        distributed.all_reduce(sums)
    return sums


def anywhere(*flags: bool) -> list[bool]:
    """Whether each flag is set in any process: all processes must turn at the same step."""
    if count() == 1:
        return list(flags)
    sums = torch.tensor(flags, dtype=torch.float32, device=PartialState().device)
    return [bool(value) for value in add_up(sums).tolist()]


def share(items: Iterator[T]) -> Iterator[T]:
    """Every item goes to one process."""
    return islice(items, rank(), None, count())
