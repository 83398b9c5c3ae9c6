"""What one chat template expects of messages beyond OpenAI's format. Training and serving ask here, so that an adapter
sees the same text in both."""

from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

Json = dict[str, Any]

_PROBE = "plain text"


class Dialect:
    """The dialect of one tokenizer's template.

    `developer` is OpenAI's newer word for `system`, which few templates know: those that do not are given `system`.
    Templates of models that see images take text as a list of parts.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._knows_developer = "developer" in str(tokenizer.chat_template)
        self._takes_parts = not _writes_plain_text(tokenizer)

    def adapt(self, messages: list[Json]) -> list[Json]:
        """Messages whose content is text, as `trainer/data.py` and the engine make them, for this template."""
        return [self._adapted(message) for message in messages]

    def _adapted(self, message: Json) -> Json:
        if message["role"] == "developer" and not self._knows_developer:
            message = {**message, "role": "system"}
        if self._takes_parts:
            message = {**message, "content": [{"type": "text", "text": message["content"]}]}
        return message


def _writes_plain_text(tokenizer: PreTrainedTokenizerBase) -> bool:
    if not tokenizer.chat_template:
        return True
    try:
        return _PROBE in str(tokenizer.apply_chat_template([{"role": "user", "content": _PROBE}], tokenize=False))
    except (TemplateError, TypeError, ValueError):
        return False
