"""Personal data out of training lines: each piece becomes a placeholder, the same piece the same one in all of a dataset.

`ann@example.com` becomes `[EMAIL_K3F2Q]`: a keyed hash, so that a model still learns who is meant by whom, and nobody
reads out of a placeholder what it stands for. What is a program's stays: roles, types, ids, names of tools.
"""

import base64
import json
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, cast

from judges.personal_data import Found, Kind, find

STRUCTURE = frozenset({"role", "type", "id", "tool_call_id", "weight", "detail", "format", "finish_reason"})
"""Fields whose text is chosen by a program."""
FIELDS = STRUCTURE | {
    "messages", "content", "text", "name", "tools", "tool_calls", "function", "arguments", "description", "parameters",
    "properties", "required", "input", "preferred_output", "non_preferred_output",
}  # fmt: skip
"""Names of fields that are known to be no personal data."""
LETTERS = 5
"""Of a placeholder, base 32: two of a thousand values share one with 1.5%."""


class Redactor:
    """Of one dataset."""

    def __init__(self, kinds: Sequence[Kind], key: bytes, *, region: str = "US") -> None:
        """Args:
        key: at most 64 secret bytes, the same for every version of the dataset.
        """
        self._kinds = tuple(kinds)
        self._key = key
        self._region = region
        self.counts: Counter[str] = Counter()
        """Pieces by kind, so far."""

    def line(self, line: dict[str, Any]) -> dict[str, Any]:
        """A line of a training file without personal data; the same object where there was none."""
        if not self._kinds:
            return line
        return cast("dict[str, Any]", self._value(line, ""))

    def text(self, text: str, shape: str = "[{}]") -> str:
        pieces: list[str] = []
        end = 0
        for each in find(text, self._kinds, region=self._region):
            self.counts[each.kind] += 1
            pieces += [text[end : each.start], shape.format(self._placeholder(each))]
            end = each.end
        return "".join([*pieces, text[end:]]) if pieces else text

    def _value(self, value: Any, field: str) -> Any:
        if isinstance(value, str):
            return self._string(value, field)
        if isinstance(value, list):
            return [self._value(each, field) for each in cast("list[Any]", value)]
        if isinstance(value, dict):
            return self._object(cast("dict[str, Any]", value))
        return value

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        """The name beside `parameters` or `arguments` is a function's; any other is somebody's."""
        is_function = bool({"parameters", "arguments", "description", "strict"} & value.keys())
        return {
            field if field in FIELDS else self.text(field): each
            if field == "name" and is_function
            else self._value(each, field)
            for field, each in value.items()
        }

    def _string(self, value: str, field: str) -> str:
        if field in STRUCTURE:
            return value
        if field == "arguments":
            return self._arguments(value)
        return self.text(value, "{}" if field == "name" else "[{}]")

    def _arguments(self, value: str) -> str:
        """JSON stays JSON: a placeholder takes the place of a value in it, numbers among them."""
        try:
            parsed = json.loads(value)
        except (ValueError, RecursionError):
            return self.text(value)
        before = self.counts.total()
        redacted = self._leaf(parsed)
        return _json(redacted) if self.counts.total() > before else value

    def _leaf(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.text(name): self._leaf(each) for name, each in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [self._leaf(each) for each in cast("list[Any]", value)]
        if isinstance(value, int) and not isinstance(value, bool):
            said = str(value)
            redacted = self.text(said)
            return value if redacted == said else redacted
        return self.text(value) if isinstance(value, str) else value

    def _placeholder(self, each: Found) -> str:
        digest = blake2b(f"{each.kind}:{each.value}".encode(errors="surrogatepass"), key=self._key, digest_size=8)
        letters = base64.b32encode(digest.digest()).decode()[:LETTERS]
        return f"{each.kind.upper()}_{letters}"


def _json(value: Any) -> str:
    """In letters, unless one of them is half a character, which only its escape can say."""
    said = json.dumps(value, ensure_ascii=False)
    try:
        said.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return said
