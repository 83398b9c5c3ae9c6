"""Messages -> token ids and labels, the same ids that the engine will see for the same messages.

The base model's own chat template writes the text; the tokenizer adds nothing to it (the template writes the BOS token
where there is one, as in vLLM). A label is the token id where the token carries loss, else IGNORED. Loss is on what the
model has to write itself: the content of a trained assistant message, its tool calls and its end-of-turn token.

Where a message lies in the text is known
(a) from the template's `{% generation %}` blocks, if it has one for every assistant message, or
(b) by rendering the conversation up to the message and checking that this is how the whole text begins. A template that
    writes earlier messages differently once later ones follow fails that check, and the job fails with the line's
    number: training on a text that the model will never be asked to continue does harm without a sign.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from trainer.contract import DataSummary
from trainer.data import Example, Json
from trainer.dialect import Dialect
from trainer.failures import Param, TrainingFailed, invalid_file

IGNORED = -100
_AT_ONCE = 256
"""Examples tokenized in one call."""
_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")

Span = tuple[int, int]
Tokens = np.ndarray[Any, np.dtype[np.int32]]


class Tokenized(NamedTuple):
    example: Example
    ids: Tokens
    labels: Tokens
    """Of the same length: the token's id where it carries loss, else IGNORED."""
    ended: bool
    """Every trained answer ends with an end-of-turn token that carries loss."""


class _Unplaceable(Exception):
    """A trained message cannot be found in the rendered text."""


@dataclass
class Labelled:
    """The examples of one file that have something to learn from, in the file's order."""

    input_ids: list[Tokens] = field(default_factory=list)
    labels: list[Tokens] = field(default_factory=list)
    examples: int = 0
    truncated: int = 0
    skipped: int = 0
    unending: int = 0
    """Examples with an answer after which the template writes no end-of-turn token."""

    def add(self, ids: Tokens, labels: Tokens, context: int) -> None:
        self.examples += 1
        self.truncated += len(ids) > context
        ids, labels = ids[:context], labels[:context]
        if label_count(labels):
            self.input_ids.append(ids)
            self.labels.append(labels)
        else:
            self.skipped += 1

    @property
    def lengths(self) -> list[int]:
        return [len(ids) for ids in self.input_ids]

    @property
    def longest(self) -> int:
        return max(self.lengths)

    def summary(self) -> DataSummary:
        return DataSummary(
            examples=self.examples,
            tokens=sum(map(len, self.input_ids)),
            label_tokens=sum(map(label_count, self.labels)),
            truncated=self.truncated,
            skipped=self.skipped,
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
        special = {token: added.content for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        self._ends = set(special)
        self._end_texts = re.compile("|".join(map(re.escape, special.values())) or "(?!)")
        self._dialect = Dialect(tokenizer)

    def label(self, examples: Iterable[Example], context: int, param: Param) -> Labelled:
        """Raises TrainingFailed with the line of an example that cannot be trained on."""
        labelled = Labelled()
        for _, ids, labels, ended in self.tokens(examples, param):
            labelled.unending += not ended
            labelled.add(ids, labels, context)
        return labelled

    def tokens(self, examples: Iterable[Example], param: Param) -> Iterator[Tokenized]:
        """One after the other, in order and not truncated. Raises TrainingFailed as `label` does."""
        for batch in _batches(examples):
            texts_and_spans = [self._place(example, param) for example in batch]
            tokens = self._tokenizer(
                [text for text, _ in texts_and_spans],
                add_special_tokens=False,
                return_offsets_mapping=True,
                return_attention_mask=False,
                verbose=False,
            )
            for example, (_, spans), ids, offsets in zip(
                batch, texts_and_spans, tokens["input_ids"], tokens["offset_mapping"], strict=True
            ):
                ids = np.asarray(ids, dtype=np.int32)
                labels, ended = self._labels(ids, np.asarray(offsets).reshape(-1, 2), spans)
                yield Tokenized(example, ids, labels, ended)

    def _place(self, example: Example, param: Param) -> tuple[str, list[Span]]:
        """-> the whole text, and where in it the trained messages are."""
        try:
            return self._text_and_spans(example)
        except TemplateError as error:
            reason = (
                f"the base model's chat template refuses this conversation ({error.message or type(error).__name__})"
            )
        except _Unplaceable as error:
            reason = str(error)
        except TypeError as error:
            reason = f"the base model's chat template cannot write this conversation ({error})"
        raise invalid_file(param, f"Line {example.line}: {reason}.")

    def _text_and_spans(self, example: Example) -> tuple[str, list[Span]]:
        messages = self._dialect.adapt(example.messages)
        template = self._tokenizer.get_chat_template(tools=example.tools)
        text, spans = self._tagged(template, messages, example) or self._searched(template, messages, example)
        for index, (start, end) in zip(example.trained, spans, strict=True):
            self._require_written(index, example.messages[index], text[start:end])
        return text, spans

    def _tagged(self, template: str, messages: list[Json], example: Example) -> tuple[str, list[Span]] | None:
        """Method (a), or None where the template has no block for every assistant message."""
        if not _GENERATION.search(template):
            return None
        text, spans = self._render_with_spans(template, messages, example.tools)
        authors = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        if len(spans) != len(authors):
            return None
        return text, [span for index, span in zip(authors, spans, strict=True) if index in example.trained]

    def _searched(self, template: str, messages: list[Json], example: Example) -> tuple[str, list[Span]]:
        """Method (b)."""
        text = self._render(template, messages, example.tools)
        return text, [self._span(template, messages, example.tools, text, index) for index in example.trained]

    def _require_written(self, index: int, message: Json, written: str) -> None:
        """Some templates leave out what they do not know, and the model would learn to say nothing."""
        names = [call["function"]["name"] for call in message.get("tool_calls", [])]
        if not all(name in written for name in names):
            raise _Unplaceable(f"the base model's chat template does not write the tool calls of message {index + 1}")
        if message["content"].strip() and not self._end_texts.sub("", written).strip():
            raise _Unplaceable(f"the base model's chat template does not write the content of message {index + 1}")

    def _span(self, template: str, messages: list[Json], tools: list[Json] | None, text: str, index: int) -> Span:
        """Where the message at `index` is in `text`, the whole conversation."""
        before = self._render(template, messages[:index], tools, add_generation_prompt=True) if index else ""
        after = text if index + 1 == len(messages) else self._render(template, messages[: index + 1], tools).rstrip()
        if not after.startswith(before):
            raise _Unplaceable(
                f"the base model's chat template begins the answer that it asks for differently from message {index + 1} "
                "(with an opened thought, for example), so the model would not learn what it is asked to write. Take "
                "another base model, or give it a chat template with generation blocks"
            )
        end = self._shared_end(text, after, len(before))
        if end is None:
            raise _Unplaceable(
                f"the base model's chat template writes message {index + 1} differently when other messages follow, "
                "so it cannot be trained as the model would write it. Give this message weight 0, or end the example "
                "with it"
            )
        return len(before), end

    def _shared_end(self, text: str, after: str, start: int) -> int | None:
        """Where the message that begins at `start` ends in both texts. Some templates close a conversation with one
        more token (Phi-3), so `after` may go on with special tokens that `text` does not have."""
        if text.startswith(after):
            return len(after)
        pairs = enumerate(zip(text, after, strict=False))
        shared = next((index for index, (one, other) in pairs if one != other), min(len(text), len(after)))
        ends = [found.end() for found in self._end_texts.finditer(after, start) if found.end() <= shared]
        if ends and not self._end_texts.sub("", after[ends[-1] :]).strip():
            return ends[-1]
        return None

    def _render(self, template: str, messages: list[Json], tools: list[Json] | None, **options: bool) -> str:
        variables: Json = {**self._tokenizer.special_tokens_map, **options}
        texts, _ = render_jinja_template([messages], tools=tools, chat_template=template, **variables)  # pyright: ignore[reportArgumentType]
        return texts[0]

    def _render_with_spans(
        self, template: str, messages: list[Json], tools: list[Json] | None
    ) -> tuple[str, list[Span]]:
        texts, spans = render_jinja_template(
            [messages],  # pyright: ignore[reportArgumentType]
            tools=tools,
            chat_template=template,
            return_assistant_tokens_mask=True,
            **self._tokenizer.special_tokens_map,
        )
        return texts[0], spans[0]  # pyright: ignore[reportReturnType]

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
