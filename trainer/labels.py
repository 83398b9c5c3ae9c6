"""Messages -> token ids and labels, the same ids that the engine will see for the same messages.

The base model's own chat template writes the text; the tokenizer adds nothing to it (the template writes the BOS token
where there is one, as in vLLM). A label is the token id where the token carries loss, else IGNORED. Loss is on what the
model has to write itself: the content of a trained assistant message, its tool calls and its end-of-turn token. Where
that is in the text, and when one example becomes several texts, is `trainer/turns.py`.

The tokens before an answer are those of the text before it, as in serving. Where a tokenizer makes other tokens of the
end of that text when the answer follows (it joins a line end with the one that the answer begins with, for example), the
two are tokenized apart.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from trainer.contract import DataSummary
from trainer.data import Example
from trainer.failures import Param, TrainingFailed, invalid_file
from trainer.turns import Placed, Span, Turns, Unplaceable

IGNORED = -100
_AT_ONCE = 256
"""Examples tokenized in one call."""

Tokens = np.ndarray[Any, np.dtype[np.int32]]


class Tokenized(NamedTuple):
    example: Example
    ids: Tokens
    labels: Tokens
    """Of the same length: the token's id where it carries loss, else IGNORED."""
    ended: bool
    """Every trained answer ends with an end-of-turn token that carries loss."""


@dataclass
class Labelled:
    """The sequences of one file that have something to learn from, in the file's order."""

    input_ids: list[Tokens] = field(default_factory=list)
    labels: list[Tokens] = field(default_factory=list)
    examples: int = 0
    truncated: int = 0
    skipped: int = 0
    expanded: int = 0
    """Examples that became several sequences, one for each answer."""
    unending: int = 0
    """Examples with an answer after which the template writes no end-of-turn token."""

    def add(self, sequences: list[Tokenized], context: int) -> None:
        """The sequences of one example; each is cut after `context` tokens."""
        self.examples += 1
        self.expanded += len(sequences) > 1
        self.truncated += any(len(one.ids) > context for one in sequences)
        self.unending += not all(one.ended for one in sequences)
        kept = [one for one in sequences if label_count(one.labels[:context])]
        self.skipped += not kept
        self.input_ids += [one.ids[:context] for one in kept]
        self.labels += [one.labels[:context] for one in kept]

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.input_ids]

    @property
    def longest(self) -> int:
        return max(self.lengths)

    def answered(self) -> Iterator[tuple[Tokens, Tokens]]:
        """Ids and labels."""
        return zip(self.input_ids, self.labels, strict=True)

    def summary(self) -> DataSummary:
        return DataSummary(
            examples=self.examples,
            tokens=sum(map(len, self.input_ids)),
            label_tokens=sum(map(label_count, self.labels)),
            truncated=self.truncated,
            skipped=self.skipped,
            expanded=self.expanded,
        )


def label_count(labels: Tokens) -> int:
    """Tokens that carry loss: nothing comes before the first token to predict it from."""
    return int((labels[1:] != IGNORED).sum())


class ChatLabels:
    """Labels for one tokenizer and its chat template. Raises TrainingFailed where there is no usable template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase):
        if not tokenizer.chat_template or not tokenizer.is_fast:
            raise TrainingFailed("invalid_model", "The base model has no chat template, so it cannot learn from chats.")
        self._tokenizer = tokenizer
        self._ends = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        self._turns = Turns(tokenizer)
        self._ids_of = lru_cache(maxsize=64)(lambda text: tokenizer(text, add_special_tokens=False)["input_ids"])

    def label(self, examples: Iterable[Example], context: int, param: Param) -> Labelled:
        """Raises TrainingFailed with the line of an example that cannot be trained on."""
        labelled = Labelled()
        for _, sequences in groupby(self.tokens(examples, param), key=lambda one: one.example.line):
            labelled.add(list(sequences), context)
        return labelled

    def tokens(self, examples: Iterable[Example], param: Param) -> Iterator[Tokenized]:
        """One after the other, in order and not truncated. An example is one sequence, or one for each of its trained
        answers (`trainer/turns.py`). Raises TrainingFailed as `label` does."""
        for batch in _batches(examples):
            placed = [(example, text) for example in batch for text in self._place(example, param)]
            tokens = self._tokenize([text.text for _, text in placed])
            for (example, text), (ids, offsets) in zip(placed, tokens, strict=True):
                if all(self._goes_on(text.text, start, ids, offsets) for start, _ in text.spans):
                    yield Tokenized(example, ids, *self._labels(ids, offsets, text.spans))
                else:
                    yield from self._tokenized_apart(example, text)

    def _place(self, example: Example, param: Param) -> list[Placed]:
        try:
            return self._turns.place(example)
        except TemplateError as error:
            reason = (
                f"the base model's chat template refuses this conversation ({error.message or type(error).__name__})"
            )
        except Unplaceable as error:
            reason = str(error)
        except TypeError as error:
            reason = f"the base model's chat template cannot write this conversation ({error})"
        raise invalid_file(param, f"Line {example.line}: {reason}.")

    def _tokenize(self, texts: list[str]) -> Iterator[tuple[Tokens, np.ndarray]]:
        """-> ids [n] and the characters that they stand for [n, 2] of each text."""
        tokens = self._tokenizer(
            texts,
            add_special_tokens=False,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        for ids, offsets in zip(tokens["input_ids"], tokens["offset_mapping"], strict=True):
            yield np.asarray(ids, dtype=np.int32), np.asarray(offsets).reshape(-1, 2)

    def _goes_on(self, text: str, start: int, ids: Tokens, offsets: np.ndarray) -> bool:
        """Whether the ids before the answer that begins at `start` are those of the text before it. What a tokenizer
        makes of a text ends at every special token: from the last one on is enough."""
        first = int(np.searchsorted(offsets[:, 1], start, side="right"))
        last_special = next((at for at in range(first - 1, -1, -1) if ids[at] in self._ends), None)
        begin, at = (0, 0) if last_special is None else (int(offsets[last_special, 0]), last_special)
        return ids[at:first].tolist() == self._ids_of(text[begin:start])

    def _tokenized_apart(self, example: Example, text: Placed) -> Iterator[Tokenized]:
        """A sequence for each answer, whose text is tokenized by itself."""
        texts = [text] if len(text.spans) == 1 else self._turns.place_alone(example)
        for alone in texts:
            ((start, end),) = alone.spans
            (asked, _), (ids, offsets) = self._tokenize([alone.text[:start], alone.text[start:]])
            labels, ended = self._labels(ids, offsets, [(0, end - start)])
            before = np.full_like(asked, IGNORED)
            yield Tokenized(example, np.concatenate((asked, ids)), np.concatenate((before, labels)), ended)

    def _labels(self, ids: Tokens, offsets: np.ndarray, spans: list[Span]) -> tuple[Tokens, bool]:
        """-> labels, and whether every span ends with an end-of-turn token."""
        labels = np.full_like(ids, IGNORED)
        ended = True
        for start, end in spans:
            first = int(np.searchsorted(offsets[:, 1], start, side="right"))
            last, has_end = self._end_of_turn(ids, first, int(np.searchsorted(offsets[:, 0], end)))
            labels[first:last] = ids[first:last]
            ended = ended and has_end
        return labels, ended

    def _end_of_turn(self, ids: Tokens, first: int, last: int) -> tuple[int, bool]:
        """Where the loss of the span `ids[first:last]` ends: after its end-of-turn token, without the white space that
        a template writes behind it. Some templates leave that token out of their generation block: then one further."""
        position = last
        while position > first and ids[position - 1] not in self._ends and not self._decode(ids[position - 1]).strip():
            position -= 1
        if position > first and ids[position - 1] in self._ends:
            return position, True
        if last < len(ids) and ids[last] in self._ends:
            return last + 1, True
        return last, False

    def _decode(self, token: int) -> str:
        return self._tokenizer.decode([token])  # pyright: ignore[reportReturnType]


def _batches(examples: Iterable[Example]) -> Iterator[list[Example]]:
    rest = iter(examples)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch
