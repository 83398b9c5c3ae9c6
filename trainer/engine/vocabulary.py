"""The model's tokenizer and chat template, as the engine needs them: text to ids, ids to text, ids to bytes."""

from collections.abc import Sequence
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from trainer.dialect import Dialect
from trainer.engine.refusals import Invalid

BYTE_OF_CHARACTER = {character: byte for byte, character in bytes_to_unicode().items()}
"""Byte-level BPE writes each byte as one printable character; this reads it back."""


class Vocabulary:
    """Wraps one tokenizer. The Rust tokenizer is used directly where there is one: its encode and decode change no
    state, so the model thread may decode while another thread encodes."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._dialect = Dialect(tokenizer)
        self._fast = getattr(tokenizer, "backend_tokenizer", None)
        self._special = frozenset(tokenizer.all_special_ids)
        self._byte_level = self._fast is not None and "ByteLevel" in repr(self._fast.decoder)
        self.stop_ids = stop_ids
        """Ids that end an answer: the model's and the tokenizer's end-of-sequence."""

    def encode(self, text: str, *, special: bool) -> list[int]:
        """`special` adds what the tokenizer puts around a plain text (a BOS, usually)."""
        if self._fast is not None:
            return self._fast.encode(text, add_special_tokens=special).ids
        return self._tokenizer.encode(text, add_special_tokens=special)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        if self._fast is not None:
            return self._fast.decode(list(ids), skip_special_tokens=skip_special)
        text = self._tokenizer.decode(list(ids), skip_special_tokens=skip_special)
        return text if isinstance(text, str) else "".join(text)

    def render(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, **variables: Any) -> str:
        """The prompt of a chat, ready for the assistant's turn. Raises Invalid with the template's own complaint."""
        if not self._tokenizer.chat_template:
            raise Invalid("This model has no chat template: use /v1/completions.", "messages")
        messages = self._dialect.adapt(messages, tools or None)
        variables = {"add_generation_prompt": True, **variables, "tokenize": False}
        try:
            text = self._tokenizer.apply_chat_template(messages, tools=tools or None, **variables)  # type: ignore[arg-type]
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise Invalid(f"The model's chat template refused the messages: {error}", "messages") from error
        return str(text)

    def token_bytes(self, token: int) -> bytes:
        """The exact bytes of one token, also where they are only a part of a character."""
        if self._byte_level and token not in self._special:
            written = self._tokenizer.convert_ids_to_tokens(token)
            if isinstance(written, str) and all(character in BYTE_OF_CHARACTER for character in written):
                return bytes(BYTE_OF_CHARACTER[character] for character in written)
        return self.decode([token], skip_special=False).encode()
