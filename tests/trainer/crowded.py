"""`python -m tests.trainer.crowded JOB_DIR`: the trainer where one of several devices never has room for two examples."""

import sys
from typing import Any

import torch
from transformers import Trainer

from trainer import devices
from trainer.__main__ import main

training_step = Trainer.training_step


def crowded_step(self: Trainer, model: Any, inputs: dict[str, torch.Tensor], *rest: Any) -> torch.Tensor:
    if devices.rank() == 1 and len(inputs["input_ids"]) > 1:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return training_step(self, model, inputs, *rest)


if __name__ == "__main__":
    Trainer.training_step = crowded_step
    sys.exit(main())
