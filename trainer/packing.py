"""Several short examples in one row of a batch, each seeing only itself.

The rows of an optimizer step are as long as its longest example, and shorter ones fill them up, best fit first. So there is
less padding, no row costs more attention than the longest example does anyway, and the step learns from the same examples.
Positions start again with every example; where a model is given them without an attention mask, transformers masks
everything before the example (`masking_utils.find_packed_sequence_indices`).

That is exact for models whose tokens meet in full attention alone. Others (state spaces, convolutions, windows) carry
something from one example into the next, so a model is asked: it must say the same about examples in one row as about each
of them alone.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import torch
from transformers import PretrainedConfig

from trainer.contract import GIVEN, Hyperparameters, TrainingSpec
from trainer.failures import impossible
from trainer.labels import IGNORED, Labelled

Batch = dict[str, torch.Tensor]

_SHORT = 0.5
"""Mean length over longest length below which packing is worth it (torchtune's rule)."""
_PROBED_TOKENS = 16
"""Of each of three examples."""
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.1}
"""Largest difference of two logits, in standard deviations of all logits. A model that sees the example before differs by
more than one."""


def best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of indices whose lengths add up to `capacity` at most: the longest first, each into the fullest row that has
    room for it (best-fit decreasing)."""
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        place = next((place for place, (room, _) in enumerate(rooms) if room >= lengths[index]), None)
        if place is None:
            rows.append([])
            room, row = capacity, len(rows) - 1
        else:
            room, row = rooms.pop(place)
        rows[row].append(index)
        insort(rooms, (room - lengths[index], row))
    return rows


@dataclass(frozen=True)
class Packing:
    """The examples of one optimizer step -> its passes, each with about `tokens_at_once` tokens at most.

    A pass: input_ids, labels, position_ids (all rows x length) and tokens (how many are no padding).
    """

    padding_id: int
    tokens_at_once: int

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, list[Batch]]:
        lengths = [len(example["input_ids"]) for example in examples]
        longest = max(lengths)
        rows = [[examples[index] for index in row] for row in best_fit(lengths, longest)]
        at_once = max(1, self.tokens_at_once // longest)
        return {"passes": [self._rows(rows[start : start + at_once]) for start in range(0, len(rows), at_once)]}

    def _rows(self, rows: list[list[dict[str, Any]]]) -> Batch:
        lengths = [sum(len(example["input_ids"]) for example in row) for row in rows]
        shape = (len(rows), max(lengths))
        ids = torch.full(shape, self.padding_id, dtype=torch.int64)
        labels = torch.full(shape, IGNORED, dtype=torch.int64)
        # Padding is at position 0 everywhere: every such token is a sequence of its own.
        positions = torch.zeros(shape, dtype=torch.int64)
        for number, row in enumerate(rows):
            start = 0
            for example in row:
                end = start + len(example["input_ids"])
                ids[number, start:end] = torch.as_tensor(example["input_ids"])
                # The first token has nothing before it to be predicted from.
                labels[number, start + 1 : end] = torch.as_tensor(example["labels"])[1:]
                positions[number, start:end] = torch.arange(end - start)
                start = end
        return {"input_ids": ids, "labels": labels, "position_ids": positions, "tokens": torch.tensor(sum(lengths))}


def label_count(passes: list[Batch]) -> torch.Tensor:
    return torch.stack([(one["labels"][:, 1:] != IGNORED).sum() for one in passes]).sum()


def decide(spec: TrainingSpec, chosen: Hyperparameters, model: Any, training: Labelled) -> Hyperparameters:
    """Whether to pack, with the reason. Raises TrainingFailed where the job asks for it and it would not be exact."""
    packing, reason = _decide(spec, model, training)
    return msgspec.structs.replace(chosen, packing=packing, reasons=chosen.reasons | {"packing": reason})


def _decide(spec: TrainingSpec, model: Any, training: Labelled) -> tuple[bool, str]:
    if spec.packing is False:
        return False, GIVEN
    mean = sum(training.lengths) / len(training.lengths)
    lengths = f"the examples have {mean:.0f} tokens on average, the longest {training.longest}"
    if spec.packing == "auto" and mean > _SHORT * training.longest:
        return False, f"{lengths}: there is little to gain"
    obstacle = _obstacle(model.config.get_text_config(), training.longest) or (
        None if is_exact(model, training) else "this base model mixes examples that share a row"
    )
    if obstacle and spec.packing is True:
        raise impossible("packing", obstacle, "Leave it out")
    if obstacle:
        return False, obstacle
    return True, GIVEN if spec.packing is True else f"{lengths}: short ones share a row, which is faster"


def _obstacle(config: PretrainedConfig, longest: int) -> str | None:
    """What can be read from the configuration, for examples too long to be tried out."""
    windows = {getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")} - {None}
    kinds = set(getattr(config, "layer_types", None) or ["sliding_attention" if windows else "full_attention"])
    windowed = bool(windows) and min(windows) < longest
    if kinds <= {"full_attention", "attention"} or (kinds <= {"full_attention", "sliding_attention"} and not windowed):
        return None
    return "the base model's layers do more than look at all tokens of an example"


def is_exact(model: Any, training: Labelled) -> bool:
    """Whether the model says about three examples in one row what it says about each alone."""
    rows = sorted(training.input_ids, key=len)[-3:]
    examples = [{"input_ids": ids[:_PROBED_TOKENS], "labels": ids[:_PROBED_TOKENS]} for ids in rows]
    together = Packing(0, 1)._rows([examples])
    was_training = model.training
    model.eval()
    with torch.no_grad():
        packed = _logits(model, together["input_ids"], together["position_ids"])
        alone = torch.cat(
            [_logits(model, torch.as_tensor(np.array([example["input_ids"]]))) for example in examples], 1
        )
    model.train(was_training)
    tolerance = _TOLERANCE.get(model.dtype, 0.1) * alone.std()
    return bool((packed - alone).abs().max() < tolerance)


def _logits(model: Any, ids: torch.Tensor, positions: torch.Tensor | None = None) -> torch.Tensor:
    given = {} if positions is None else {"position_ids": positions.to(model.device)}
    return model(input_ids=ids.long().to(model.device), use_cache=False, **given).logits.float()
