"""Where the answers of a conversation stand in the text that the base model's chat template writes.

An answer is trained as it is asked for at serving time: it goes on from exactly the text that the engine renders for the
messages before it, with `add_generation_prompt`. Where one text holds several answers, this holds for each of them.

The answers' places are known
(a) from the template's `{% generation %}` blocks, if it has one for every assistant message, or
(b) by rendering the conversation up to the answer and checking that this is how the whole text begins.
Where neither gives places that go on from what is asked (a template that drops the thoughts of earlier answers once
others follow, as Qwen3's does), every answer is trained in a text of its own, which ends with it.

A template that opens a thought in the text that asks (DeepSeek R1) writes answers without it once they are given. Such an
answer is trained as the continuation of the opened thought, if the message brings one: in its content, up to `</think>`,
or as its `reasoning`. A template that writes the system message into the last question alone, and nowhere once it is
answered (Mistral), is followed in the same way: the answer goes on from the text that asked for it. An answer that cannot
be put behind that text is refused: training on a text that the model will never be asked to continue does harm without
a sign.
"""

import re
from dataclasses import dataclass, replace

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from trainer.data import Example
from trainer.dialect import Dialect
from trainer.messages import Json, text_of

Span = tuple[int, int]
"""Of characters."""

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
_OPENED = re.compile(r"<(\w+)>\s*\Z")


class Unplaceable(Exception):
    """A trained message cannot be found in the rendered text."""


@dataclass(frozen=True, slots=True)
class Placed:
    text: str
    spans: list[Span]
    """One for each trained answer, in order: from where the model is asked to write it, to its end."""


class Turns:
    """Places answers for one tokenizer and its chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        special = [added.content for added in tokenizer.added_tokens_decoder.values() if added.special]
        self._end_texts = re.compile("|".join(map(re.escape, special)) or "(?!)")
        self._tokenizer = tokenizer
        self._dialect = Dialect(tokenizer)

    def place(self, example: Example) -> list[Placed]:
        """All trained answers in one text, or each in its own. Raises Unplaceable and what the template raises."""
        placed = self._tagged(example) or self._searched(example)
        if placed is None:
            return self.place_alone(example)
        for index, (start, end) in zip(example.trained, placed.spans, strict=True):
            self._require_written(example, index, placed.text[start:end])
        return [placed]

    def place_alone(self, example: Example) -> list[Placed]:
        """One text for each trained answer, which ends with it. Raises as `place` does."""
        return [self._alone(example, index) for index in example.trained]

    def _tagged(self, example: Example) -> Placed | None:
        """Method (a), or None where the blocks do not give every answer its place."""
        template = self._tokenizer.get_chat_template(tools=example.tools)
        if not _GENERATION.search(template):
            return None
        text, spans = self._render_with_spans(template, example)
        authors = [index for index, message in enumerate(example.messages) if message["role"] == "assistant"]
        if len(spans) != len(authors):
            return None
        placed: list[Span] = []
        for index, (start, end) in zip(authors, spans, strict=True):
            if index not in example.trained:
                continue
            asked = self._asked(example, index)
            if not text.startswith(asked) or end <= len(asked):
                return None
            placed.append((max(start, len(asked)), end))
        return Placed(text, placed)

    def _searched(self, example: Example) -> Placed | None:
        """Method (b), or None where an answer does not go on from what is asked, or changes when others follow."""
        text = self._render(example)
        spans = [self._span(example, text, index) for index in example.trained]
        return Placed(text, [span for span in spans if span]) if all(spans) else None

    def _span(self, example: Example, text: str, index: int) -> Span | None:
        asked = self._asked(example, index)
        last = index + 1 == len(example.messages)
        written = text if last else self._render(example, index + 1).rstrip()
        if not written.startswith(asked):
            return None
        end = self._shared_end(text, written, len(asked))
        return None if end is None else (len(asked), end)

    def _shared_end(self, text: str, written: str, start: int) -> int | None:
        """Where the message that begins at `start` ends in both texts. Some templates close a conversation with one
        more token (Phi-3), so `written` may go on with special tokens that `text` does not have."""
        if text.startswith(written):
            return len(written)
        shared = _shared_length(text, written)
        ends = [found.end() for found in self._end_texts.finditer(written, start) if found.end() <= shared]
        if ends and not self._end_texts.sub("", written[ends[-1] :]).strip():
            return ends[-1]
        return None

    def _alone(self, example: Example, index: int) -> Placed:
        asked, written = self._asked(example, index), self._render(example, index + 1)
        text = written
        if not written.startswith(asked):
            text = _continued(asked, written, example.messages[index]) or _moved(
                asked, written, example.messages, index
            )
        if text is None:
            raise Unplaceable(
                f"the base model's chat template begins the answer that it asks for differently from messages[{index}] "
                "(with an opened thought, for example), so the model would not learn what it is asked to write. Begin "
                "the content with the thought and its closing tag, give the message weight 0, or take another base model"
            )
        self._require_written(example, index, text[len(asked) :])
        return Placed(text, [(len(asked), len(text))])

    def _require_written(self, example: Example, index: int, written: str) -> None:
        """Some templates leave out what they do not know, and the model would learn to say nothing."""
        message = example.messages[index]
        names = [call["function"]["name"] for call in message.get("tool_calls", [])]
        if not all(name in written for name in names):
            raise Unplaceable(f"the base model's chat template does not write the tool calls of messages[{index}]")
        if text_of(message["content"]).strip() and not self._end_texts.sub("", written).strip():
            raise Unplaceable(f"the base model's chat template does not write the content of messages[{index}]")

    # ---- Rendering

    def _asked(self, example: Example, index: int) -> str:
        """What the model is given to answer with the message at `index`."""
        if index:
            return self._render(example, index, add_generation_prompt=True)
        return self._asked_without_messages(example)

    def _asked_without_messages(self, example: Example) -> str:
        """Nobody can ask for the first message of a conversation. What the template writes for no messages stands for
        that; where it takes none, the text up to what it asks for answers with."""
        written = self._render(example, 1)
        try:
            asked = self._render(example, 0, add_generation_prompt=True)
        except (TemplateError, TypeError):
            asked = None
        if asked is not None and written.startswith(asked):
            return asked
        question = replace(example, messages=[{"role": "user", "content": "x"}])
        asked, unasked = self._render(question, add_generation_prompt=True), self._render(question)
        head = asked[_shared_length(asked, unasked) :]
        return written[: written.find(head) + len(head)] if head in written else head

    def _render(self, example: Example, length: int | None = None, **options: bool) -> str:
        """The first `length` messages."""
        messages = self._dialect.adapt(example.messages[:length], example.tools)
        template = self._tokenizer.get_chat_template(tools=example.tools)
        variables: Json = {**self._tokenizer.special_tokens_map, **options}
        texts, _ = render_jinja_template([messages], tools=example.tools, chat_template=template, **variables)  # pyright: ignore[reportArgumentType]
        return texts[0]

    def _render_with_spans(self, template: str, example: Example) -> tuple[str, list[Span]]:
        texts, spans = render_jinja_template(
            [self._dialect.adapt(example.messages, example.tools)],  # pyright: ignore[reportArgumentType]
            tools=example.tools,
            chat_template=template,
            return_assistant_tokens_mask=True,
            **self._tokenizer.special_tokens_map,
        )
        return texts[0], spans[0]  # pyright: ignore[reportReturnType]


def _shared_length(one: str, other: str) -> int:
    """Characters with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (left, right) in pairs if left != right), min(len(one), len(other)))


def _moved(asked: str, written: str, messages: list[Json], index: int) -> str | None:
    """The text that asks, gone on with the answer, where the template writes something before the last message only
    as long as it is the last (Mistral's system message); None where both do not end alike up to the answer."""
    before, message = text_of(messages[index - 1]["content"]).strip(), messages[index]
    begins = [
        text_of(message["content"]).strip(),
        *(call["function"]["name"] for call in message.get("tool_calls", [])),
    ]
    answer = next((written.rfind(text) for text in begins if text and text in written), len(written))
    if not index or not before or before not in asked:
        return None
    last = asked[asked.rfind(before) :]
    found = written.rfind(last, 0, answer)
    return None if found < 0 else asked + written[found + len(last) :]


def _continued(asked: str, written: str, message: Json) -> str | None:
    """The text that asks, gone on with the thought that it opens, the answer and what the template writes behind it;
    None where that cannot be known."""
    opened = _OPENED.search(asked)
    if not opened or not written.startswith(asked[: opened.start()]):
        return None
    closing, content = f"</{opened[1]}>", text_of(message["content"])
    if closing in content:
        answer = content.removeprefix(opened[0]) if content.startswith(opened[0]) else _without(content, opened[1])
    elif message.get("reasoning", "").strip():
        answer = f"{message['reasoning'].strip()}\n{closing}\n\n{content.strip()}"
    else:
        return None
    rest, visible = written[opened.start() :], answer.rpartition(closing)[2].strip()
    found = rest.find(visible, rest.rfind(closing) + 1)
    if found < 0:
        return None
    return asked + answer.rstrip() + rest[found + len(visible) :]


def _without(content: str, tag: str) -> str:
    """The content without an opening tag of its own."""
    return re.sub(rf"\A\s*<{tag}>\s*", "", content)
