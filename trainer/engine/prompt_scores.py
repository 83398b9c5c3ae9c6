"""What a model gives each token of a prompt after those before it: vLLM's `prompt_logprobs`.

The scores of a piece are taken as it is read (`prefill`): each position of the model's output predicts the token that
follows, be it in this piece or the first of the next one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Score(NamedTuple):
    token: int
    logprob: float
    """Natural logarithm, from a softmax in float32."""
    rank: int
    """1 for the most probable; tokens that are as probable count as before it, as in vLLM."""


def scores(logits: Tensor, following: Sequence[int], top: int) -> list[list[Score]]:
    """For each row of logits [rows, vocabulary], the token that follows it first, then the `top` most probable ones."""
    if not following:
        return []
    logprobs = logits.float().log_softmax(-1)
    chosen = logprobs.gather(1, torch.tensor(following, device=logits.device)[:, None])
    ranks = (logprobs >= chosen).sum(-1).tolist()
    best = logprobs.topk(min(top, logprobs.shape[1]))
    rows = zip(following, chosen[:, 0].tolist(), ranks, best.indices.tolist(), best.values.tolist(), strict=True)
    return [
        [
            Score(token, logprob, rank),
            *(
                Score(other, value, place)
                for place, (other, value) in enumerate(zip(ids, values, strict=True), start=1)
            ),
        ]
        for token, logprob, rank, ids, values in rows
    ]
