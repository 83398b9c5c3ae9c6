"""What is wrong with one line, as it is found."""

from collections.abc import Collection
from typing import Any

import msgspec

from gateway.protocol.datasets import Problem

MOST_OF_A_LINE = 100
"""Problems of one line that are kept; all are counted."""
QUOTE = 60
"""Characters of the file that a problem repeats."""

KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


class Found:
    """Collects the problems of one line."""

    def __init__(self, line: int = 1, example: int = 1) -> None:
        self.kept: list[Problem] = []
        self.count = 0
        self._line, self._example = line, example

    def add(self, path: str, message: str, fix: str) -> None:
        self.count += 1
        if len(self.kept) < MOST_OF_A_LINE:
            problem = Problem(line=self._line, example=self._example, path=path, message=message, fix=fix)
            self.kept.append(problem)

    def expect(self, path: str, value: Any, kind: type, what: str) -> bool:
        """Whether `value` is a `kind`; else that is a problem, and `what` says what belongs there."""
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return True
        self.add(path, f"expected {KINDS[kind]}, got {kind_of(value)}", f"Write {what}.")
        return False

    def refuse_unknown(self, path: str, fields: dict[str, Any], known: Collection[str]) -> None:
        """OpenAI refuses keys that it does not know; a null is no key."""
        for name, value in fields.items():
            if name not in known and value is not None:
                self.add(join(path, quote(name)), f'contains an extra "{quote(name)}"', "Remove this key.")


def join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def kind_of(value: Any) -> str:
    return "null" if value is None else KINDS.get(type(value), "something else")


def quote(value: Any) -> str:
    """A value of the file, short and without what a terminal or a database cannot take."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    text = "".join(letter if letter.isprintable() else "\ufffd" for letter in text[: QUOTE + 1])
    return text if len(text) <= QUOTE else text[:QUOTE] + " ..."
