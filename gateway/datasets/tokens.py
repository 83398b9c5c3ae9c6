"""Tokens of examples, with the base model's own tokenizer where it is at hand.

Not every example is tokenized: a sample tells how many characters make a token, and the rest is arithmetic.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

CHARACTERS_A_TOKEN = 4.0
"""English text, when there is no tokenizer to ask (OpenAI's rule of thumb)."""
MESSAGE_TOKENS = 4
"""What a chat template writes around a message: its beginning, the role, a line end, its end (ChatML)."""
SAMPLE_EXAMPLES = 2000
SAMPLE_CHARACTERS = 4_000_000
"""About two seconds of tokenizing."""
LONGEST_TEXT = 20_000
"""Characters of one text that are tokenized."""
AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Sampled:
    """Two texts of an example, and the messages they came in."""

    given: str
    learnt: str
    messages: int
    at_once: float
    """Share of the texts that is in the model's context at a time."""


class Sample:
    """Every n-th example, n doubling as the file goes on, so that any part of a file counts alike."""

    def __init__(self) -> None:
        self.examples: list[Sampled] = []
        self.is_whole = True
        """Nothing was left out."""
        self._seen = 0
        self._every = 1
        self._characters = 0

    def add(self, given: str, learnt: str, messages: int, at_once: float = 1.0) -> None:
        if self._seen % self._every == 0:
            self.is_whole = self.is_whole and len(given) <= LONGEST_TEXT and len(learnt) <= LONGEST_TEXT
            sampled = Sampled(given[:LONGEST_TEXT], learnt[:LONGEST_TEXT], messages, at_once)
            self.examples.append(sampled)
            self._characters += len(sampled.given) + len(sampled.learnt)
            if len(self.examples) > SAMPLE_EXAMPLES or self._characters > SAMPLE_CHARACTERS:
                self._halve()
        self._seen += 1

    def _halve(self) -> None:
        self.is_whole = False
        self._every *= 2
        self.examples = self.examples[::2]
        self._characters = sum(len(each.given) + len(each.learnt) for each in self.examples)


class TokenCounter:
    """Counts tokens as the base model at `model` (a directory in Hugging Face format) would."""

    def __init__(self, model: Path | None) -> None:
        self._tokenizer = _tokenizer(model) if model else None
        self.context_length = _context_length(model) if model else None

    @classmethod
    def of(cls, model_path: str) -> "TokenCounter":
        """For the setting `engine.model_path`, which may be empty, or an id that is no directory here."""
        return cls(Path(model_path) if model_path and Path(model_path).is_dir() else None)

    @property
    def is_real(self) -> bool:
        return self._tokenizer is not None

    def count(self, texts: list[str]) -> list[int]:
        """Tokens of each text, without special ones."""
        if self._tokenizer is None:
            return [round(len(text) / CHARACTERS_A_TOKEN) for text in texts]
        counts: list[int] = []
        for start in range(0, len(texts), AT_ONCE):
            encoded = self._tokenizer.encode_batch_fast(texts[start : start + AT_ONCE], add_special_tokens=False)
            counts += [len(each.ids) for each in encoded]
        return counts


def _tokenizer(model: Path) -> Any:
    from tokenizers import Tokenizer  # most gateways never count an example's tokens

    try:
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    except Exception as error:  # noqa: BLE001 the library raises plain Exceptions
        log.info("no tokenizer at %s: %s", model, error)
        return None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _context_length(model: Path) -> int | None:
    """Of config.json; a model that also sees images keeps it under text_config."""
    try:
        config = json.loads((model / "config.json").read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    nested: Any = config.get("text_config")
    length = config.get("max_position_embeddings") or (nested or {}).get("max_position_embeddings")
    return length if isinstance(length, int) and length > 0 else None
