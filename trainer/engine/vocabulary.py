"""The model's tokenizer and chat template, as the engine needs them: text to ids, ids to text, ids to bytes."""

from collections.abc import Sequence
from typing import Any

import jinja2
from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from trainer.dialect import Dialect
from trainer.engine.detokenize import REPLACEMENT
from trainer.engine.refusals import Invalid

BYTE_OF_CHARACTER = {character: byte for byte, character in bytes_to_unicode().items()}
"""Byte-level BPE writes each byte as one printable character; this reads it back."""

SPACE = "\u2581"
"""How SentencePiece models write a space."""


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

    def piece(self, token: int, before: Sequence[int]) -> str:
        """One token as text, as vLLM writes it into `decoded_token`: where it ends inside a character "", and where it
        completes one that tokens `before` it began, that character."""
        text = self._with_leading_spaces(token)
        for count in range(1, len(before) + 1) if text.endswith(REPLACEMENT) else ():
            context = list(before[-count:])
            whole = self.decode([*context, token], skip_special=False)
            if not whole.endswith(REPLACEMENT):
                return whole.removeprefix(self._begun(context))
        return "" if text.endswith(REPLACEMENT) else text

    def _begun(self, context: list[int]) -> str:
        """The text of these tokens before the character that the last of them began."""
        while context and self.decode(context[-1:], skip_special=False).endswith(REPLACEMENT):
            context.pop()
        return self.decode(context, skip_special=False) if context else ""

    def _with_leading_spaces(self, token: int) -> str:
        """Decoders of SentencePiece models drop the space in front of a text, which a token alone is."""
        text = self.decode([token], skip_special=False)
        written = self._tokenizer.convert_ids_to_tokens(token)
        if self._byte_level or not isinstance(written, str):
            return text
        spaces = len(written) - len(written.lstrip(SPACE))
        return " " * (spaces - (len(text) - len(text.lstrip(" ")))) + text

    def token_bytes(self, token: int) -> bytes:
        """The exact bytes of one token, also where they are only a part of a character."""
        if self._byte_level and token not in self._special:
            written = self._tokenizer.convert_ids_to_tokens(token)
            if isinstance(written, str) and all(character in BYTE_OF_CHARACTER for character in written):
                return bytes(BYTE_OF_CHARACTER[character] for character in written)
        return self.decode([token], skip_special=False).encode()
