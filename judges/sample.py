"""What is graded: a sample (what a model answered) beside an item (the row of data it answered to)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

Item = Mapping[str, Any]
"""A row of a data set; its keys are free."""

ABSENT: Any = msgspec.UNSET
"""The place of a value that is not there, which JSON's null is not."""

_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Sample:
    """A model's answer, as graders see it (OpenAI's guide "Graders", "Sample namespace")."""

    output_text: str
    output_json: Any = ABSENT
    """ABSENT when the text is not JSON."""
    output_tools: list[Any] = field(default_factory=list[Any])
    """As `choices[0].message.tool_calls` of a chat completion."""
    choices: list[Any] = field(default_factory=list[Any])

    @classmethod
    def of_text(cls, text: str) -> "Sample":
        """The sample of one plain answer; `output_json` is read from it when it is JSON."""
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return cls(text, output_json=_json(text), choices=[choice])

    def variables(self) -> dict[str, Any]:
        """The namespace `sample`; what is ABSENT is left out."""
        known = {
            "output_text": self.output_text,
            "output_json": self.output_json,
            "output_tools": self.output_tools,
            "choices": self.choices,
        }
        return {name: value for name, value in known.items() if value is not ABSENT}


def _json(text: str) -> Any:
    try:
        return _decode(text.encode())
    except (ValueError, RecursionError):  # a lone surrogate is a ValueError too
        return ABSENT
