"""Reading a prompt into a cache, some tokens at a time, so that others go on decoding meanwhile."""

from typing import Any

import torch
from torch import Tensor

from trainer.engine.batch import prompt_cache
from trainer.engine.choice import Generation
from trainer.engine.prompt_scores import Score, scores

TOKENS_AT_ONCE = {"cpu": 128}
"""Tokens of a prompt in one turn, by device: others wait for that long. Accelerators read MANY."""

MANY = 2048
FEW = 128
"""Where each token is scored: every one of them has logits over the whole vocabulary then."""


class Prefill:
    """One prompt, read from its first token. The size of its pieces does not depend on what else runs, so neither
    do its numbers."""

    def __init__(self, generation: Generation, config: Any) -> None:
        self.generation = generation
        self.cache = prompt_cache(config)
        self._read = 0
        self._top = generation.options.prompt_logprobs
        self._scores: list[list[Score]] = []

    def step(self, model: Any) -> Tensor | None:
        """Reads the next piece. Returns logits [1, vocabulary] after the last one."""
        ids = self.generation.prompt_ids
        scored = self._top is not None
        size = FEW if scored else TOKENS_AT_ONCE.get(model.device.type, MANY)
        piece = ids[self._read : self._read + size]
        output = model(
            input_ids=torch.tensor([piece], device=model.device),
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=0 if scored else 1,  # 0 is all
        )
        following = ids[self._read + 1 : self._read + 1 + len(piece)]
        self._read += len(piece)
        if self._top is not None:
            self._scores += scores(output.logits[0, : len(following)], following, self._top)
        if self._read < len(ids):
            return None
        if scored:
            self.generation.prompt_scores = self._scores
        return output.logits[:, -1]
