"""Tokens and loss of the golden conversations, to be read.

    = weights                      a conversation, then a block of lines for each of its sequences
      <s>·What· is·\\n             tokens without loss
    > It· is· red·.·</s>           tokens with loss
    ! refused: ...                 instead, where training refuses the conversation

A line ends after a line end, at an end-of-turn token, and where loss begins or ends; `·` stands between tokens. A token
that is a part of a character is written as its bytes, in brackets.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.trainer.golden.families import CONVERSATIONS
from trainer.data import Example, InvalidLine, conversation, tools_of
from trainer.failures import TrainingFailed
from trainer.labels import IGNORED, ChatLabels, Tokenized

SHOWN = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", "·": "\\·"}


def read(name: str) -> Example:
    """The golden conversation, as training reads it from a file. Raises InvalidLine."""
    fields = CONVERSATIONS[name]
    return Example(1, *conversation(fields["messages"]), tools_of(fields))


def tokenized(labels: ChatLabels, name: str) -> list[Tokenized]:
    """Raises TrainingFailed and InvalidLine."""
    return list(labels.tokens([read(name)], "training_file"))


def report(tokenizer: Any) -> str:
    labels = ChatLabels(tokenizer)
    lines = [line for name in CONVERSATIONS for line in _conversation(labels, tokenizer, name)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _conversation(labels: ChatLabels, tokenizer: Any, name: str) -> Iterator[str]:
    yield f"= {name}"
    try:
        sequences = tokenized(labels, name)
    except (TrainingFailed, InvalidLine) as refusal:
        yield f"! refused: {refusal}"
        sequences = []
    for sequence in sequences:
        yield from _lines(sequence, tokenizer)
        yield "" if sequence.ended else "! an answer has no end"


def _lines(sequence: Tokenized, tokenizer: Any) -> Iterator[str]:
    line: list[str] = []
    trained = (sequence.labels != IGNORED).tolist()
    for at, token in enumerate(sequence.ids.tolist()):
        line.append(_shown(tokenizer, token))
        ends = line[-1].endswith("\\n") or token == tokenizer.eos_token_id
        if ends or at + 1 == len(trained) or trained[at + 1] != trained[at]:
            yield ("> " if trained[at] else "  ") + "·".join(line)
            line = []


def _shown(tokenizer: Any, token: int) -> str:
    text = tokenizer.convert_ids_to_tokens(token) if token in tokenizer.all_special_ids else tokenizer.decode([token])
    if "\ufffd" in text:
        return f"[{tokenizer.convert_ids_to_tokens(token)}]"
    shown = "".join(SHOWN.get(character, character) for character in text)
    return shown if shown.isprintable() else json.dumps(text)[1:-1]
