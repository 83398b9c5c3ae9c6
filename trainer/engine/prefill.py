"""Reading a prompt into a cache, some tokens at a time, so that others go on decoding meanwhile."""

from typing import Any

import torch
from torch import Tensor

from trainer.engine.batch import prompt_cache
from trainer.engine.choice import Generation

TOKENS_AT_ONCE = {"cpu": 128}
"""Tokens of a prompt in one turn, by device: others wait for that long. Accelerators read MANY."""

MANY = 2048


class Prefill:
    """One prompt, read from its first token. The size of its pieces does not depend on what else runs, so neither
    do its numbers."""

    def __init__(self, generation: Generation, config: Any) -> None:
        self.generation = generation
        self.cache = prompt_cache(config)
        self._read = 0

    def step(self, model: Any) -> Tensor | None:
        """Reads the next piece. Returns logits [1, vocabulary] after the last one."""
        ids = self.generation.prompt_ids
        size = TOKENS_AT_ONCE.get(model.device.type, MANY)
        piece = ids[self._read : self._read + size]
        output = model(
            input_ids=torch.tensor([piece], device=model.device),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._read += len(piece)
        return output.logits[:, -1] if self._read == len(ids) else None
