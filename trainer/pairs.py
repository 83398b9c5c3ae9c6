"""Pairs of answers: from preferences to token ids, and from those to batches of tensors.

A pair is two sequences with the same prompt. In a batch of n pairs, rows 0 to n-1 are the preferred sequences and rows n
to 2n-1 the rejected ones, in the same order.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset

from trainer.batches import Padding, column
from trainer.contract import DataSummary
from trainer.data import Example
from trainer.failures import Param
from trainer.labels import IGNORED, ChatLabels, Tokenized, Tokens, label_count
from trainer.preferences import Preference

References = np.ndarray[Any, np.dtype[np.float32]]
"""Of each pair: what the reference gives its two answers, as sums of log-probabilities. [pairs, 2]"""


class Pair(NamedTuple):
    preferred_ids: Tokens
    preferred_labels: Tokens
    rejected_ids: Tokens
    rejected_labels: Tokens


@dataclass
class Pairs:
    """The pairs of one file that have something to prefer, in the file's order."""

    rows: list[Pair] = field(default_factory=list)
    examples: int = 0
    truncated: int = 0
    """Pairs with at least one answer that was cut at the end."""
    identical: int = 0
    """Pairs left out because both answers are the same."""
    lost: int = 0
    """Pairs left out because the cut left the same of both answers, or nothing."""
    unending: int = 0
    """Pairs with an answer after which the template writes no end-of-turn token."""

    def add(self, preferred: Tokenized, rejected: Tokenized, context: int) -> None:
        """Both sequences are cut at `context` tokens, so that an answer is never compared with a part that the other
        one could not have had."""
        self.examples += 1
        self.unending += not (preferred.ended and rejected.ended)
        if np.array_equal(preferred.ids, rejected.ids):
            self.identical += 1
            return
        self.truncated += max(len(preferred.ids), len(rejected.ids)) > context
        cut = (tokens[:context] for one in (preferred, rejected) for tokens in (one.ids, one.labels))
        pair = Pair(*cut)
        if _can_be_compared(pair):
            self.rows.append(pair)
        else:
            self.lost += 1

    @property
    def lengths(self) -> list[int]:
        """Of the longer sequence of each pair: that is what both are padded to."""
        return [max(len(pair.preferred_ids), len(pair.rejected_ids)) for pair in self.rows]

    @property
    def longest(self) -> int:
        """Tokens that the largest pair takes in a batch, padding included."""
        return 2 * max(self.lengths)

    def answered(self) -> Iterator[tuple[Tokens, Tokens]]:
        """Ids and labels of the preferred sequences."""
        return ((pair.preferred_ids, pair.preferred_labels) for pair in self.rows)

    def summary(self) -> DataSummary:
        """Tokens are those of both sequences of every pair: prompt and preferred answer, prompt and rejected answer."""
        return DataSummary(
            examples=self.examples,
            tokens=sum(len(pair.preferred_ids) + len(pair.rejected_ids) for pair in self.rows),
            label_tokens=sum(
                label_count(pair.preferred_labels) + label_count(pair.rejected_labels) for pair in self.rows
            ),
            truncated=self.truncated,
            skipped=self.identical + self.lost,
        )


def _can_be_compared(pair: Pair) -> bool:
    both_answer = label_count(pair.preferred_labels) > 0 and label_count(pair.rejected_labels) > 0
    return both_answer and not np.array_equal(pair.preferred_ids, pair.rejected_ids)


def tokenize(labels: ChatLabels, preferences: Iterable[Preference], context: int, param: Param) -> Pairs:
    """Raises TrainingFailed with the line of a pair that cannot be trained on."""
    pairs = Pairs()
    tokens = labels.tokens(_flat(preferences), param)
    for preferred, rejected in zip(tokens, tokens, strict=True):
        pairs.add(preferred, rejected, context)
    return pairs


def _flat(preferences: Iterable[Preference]) -> Iterator[Example]:
    for preference in preferences:
        yield preference.preferred
        yield preference.rejected


def with_filler(pairs: Pairs) -> Pairs:
    """One more pair, without a label: it counts as none (see `trainer.batches.Filled`)."""
    empty = np.zeros(2, dtype=np.int32)
    return replace(pairs, rows=[*pairs.rows, Pair(empty, empty + IGNORED, empty, empty + IGNORED)])


def rows(pairs: Pairs, references: References | None = None) -> list[dict[str, Any]]:
    """What `PairPadding` takes."""
    examples = [pair._asdict() for pair in pairs.rows]
    if references is not None:
        for example, reference in zip(examples, references, strict=True):
            example["reference"] = reference
    return examples


def to_dataset(pairs: Pairs, references: References | None = None) -> Dataset:
    """Arrow columns without a copy per pair."""
    columns = {name: column([getattr(pair, name) for pair in pairs.rows]) for name in Pair._fields}
    if references is not None:
        columns["reference"] = column(list(references))
    return Dataset(pa.table(columns)).with_format("torch")


@dataclass(frozen=True)
class PairPadding:
    """n pairs -> tensors of 2n rows, padded on the right to the longest; `reference` where the pairs have it."""

    padding_id: int

    def __call__(self, pairs: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        sequences = [
            {"input_ids": pair[f"{side}_ids"], "labels": pair[f"{side}_labels"]}
            for side in ("preferred", "rejected")
            for pair in pairs
        ]
        batch = Padding(self.padding_id)(sequences)
        if "reference" in pairs[0]:
            by_pair = torch.stack([torch.as_tensor(pair["reference"]) for pair in pairs])
            batch["reference"] = by_pair.T.reshape(-1)
        return batch
