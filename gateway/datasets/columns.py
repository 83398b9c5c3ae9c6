"""Which column is what: from the names that people use, and from what is in the first rows.

Confidence, in percent, is how well the names are known times the share of the rows looked at that have something in
every column that is needed, plus up to 9 where the contents look like texts. Below 60 nobody should rely on it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from gateway.datasets.problems import NON_PREFERRED, PREFERRED
from gateway.protocol.datasets import Column, Role

SURE = 60
"""Percent: below, a mapping is required."""
LOOKED_AT = 200
"""Rows."""
SAMPLES, SAMPLE_LENGTH = 3, 120
MOST_COLUMNS = 1000

PAIRS = (
    ("instruction", "response"), ("question", "answer"), ("prompt", "completion"),
    ("user_message", "assistant_message"), ("text_input", "text_output"), ("input", "output"),
    ("instruction", "output"), ("prompt", "response"), ("query", "response"), ("question", "response"),
    ("query", "answer"), ("user", "assistant"), ("human", "assistant"), ("source", "target"), ("input", "target"),
)  # fmt: skip
"""Names that go together."""
USER = tuple(dict.fromkeys(name for name, _ in PAIRS))
ASSISTANT = (*dict.fromkeys(name for _, name in PAIRS), "reply")
SYSTEM = ("system", "system_prompt", "system_message")
CONTEXT = ("input", "context")
CONVERSATION = ("conversations", "conversation", "messages", "dialogue", "dialog", "turns", "chat")
TOOLS = ("tools", "functions")
CHOSEN = ("chosen", "preferred", "preferred_output", "preferred_completion", "chosen_response", "response_chosen")
REJECTED = (
    "rejected", "non_preferred", "non_preferred_output", "non_preferred_completion", "rejected_response",
    "response_rejected",
)  # fmt: skip

PAIR, KNOWN, ALIKE, PLACE = 90, 80, 65, 45
"""Percent, for names that go together, that are known each for itself, that contain a known one, and for the only two
columns there are."""

_SEPARATORS = re.compile(r"[\s\-.]+")


@dataclass(frozen=True)
class Detection:
    layout: str
    """As in protocol.datasets.Import."""
    mapping: dict[Role, str] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]
    confidence: int = 0


class Table:
    """The columns of the first rows."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = rows[:LOOKED_AT]
        names = dict.fromkeys(name for row in self.rows for name in row)
        self.names = list(names)[:MOST_COLUMNS]
        self._by_key = {_key(name): name for name in reversed(self.names)}

    def find(self, known: Sequence[str]) -> str | None:
        """The column with the first of these names, whatever its capitals and separators."""
        return next((self._by_key[name] for name in known if name in self._by_key), None)

    def find_like(self, known: Sequence[str], but: str | None = None) -> str | None:
        """The first column whose name contains one of these."""
        return next((self._by_key[key] for key in reversed(self._by_key) if self._by_key[key] != but
                     and any(name in key for name in known if len(name) > 4)), None)  # fmt: skip

    def filled(self, *names: str) -> float:
        """Share of the rows that have something in each of these columns."""
        full = sum(all(not is_empty(row.get(name)) for name in names) for row in self.rows)
        return full / len(self.rows) if self.rows else 0.0

    def share(self, name: str, is_so: Any) -> float:
        """Of the values there that `is_so` is true of."""
        values = [row[name] for row in self.rows if not is_empty(row.get(name))]
        return sum(bool(is_so(value)) for value in values) / len(values) if values else 0.0

    def columns(self) -> list[Column]:
        return [self._column(name) for name in self.names]

    def _column(self, name: str) -> Column:
        values = [row[name] for row in self.rows if not is_empty(row.get(name))]
        samples = [plain(value)[:SAMPLE_LENGTH] for value in values[:SAMPLES]]
        empty = 1 - len(values) / len(self.rows) if self.rows else 1.0
        return Column(name=name, samples=samples, empty=round(empty, 4))


def detect(table: Table) -> Detection:
    """The likeliest reading; layout `unknown` when there is none."""
    found = _openai(table) or _conversation(table) or _preference(table) or _alpaca(table) or _pair(table)
    return found or Detection("unknown")


def detect_messages(table: Table) -> Detection:
    """Only as conversations."""
    return _openai(table) or _conversation(table) or Detection("unknown")


def detect_table(table: Table) -> Detection:
    """Only as a table of texts."""
    return _preference(table) or _alpaca(table) or _pair(table) or Detection("unknown")


def layout_of(mapping: dict[Role, str]) -> str | None:
    """What an explicit mapping describes; None when it is incomplete."""
    if "preferred" in mapping and "non_preferred" in mapping:
        return "sharegpt-preference" if "messages" in mapping else "preference-table" if "user" in mapping else None
    if "messages" in mapping:
        return "sharegpt"
    return "table" if "user" in mapping and "assistant" in mapping else None


def is_empty(value: Any) -> bool:
    """Nothing to learn from: also what dataframes write for a missing number."""
    return value is None or value in ("", [], {}) or value != value or (isinstance(value, str) and not value.strip())


def plain(value: Any) -> str:
    """A cell as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if value is None or value != value:
        return ""
    return msgspec.json.encode(value, enc_hook=str).decode() if isinstance(value, dict | list) else str(value)


def turns_of(value: Any) -> list[Any] | None:
    """A conversation, also one that a table holds as JSON text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return None
    return value if isinstance(value, list) and value and all(_is_turn(turn) for turn in value) else None


def _is_turn(turn: Any) -> bool:
    return isinstance(turn, dict) and bool(turn.keys() & {"from", "role"})


def _openai(table: Table) -> Detection | None:
    if "input" in table.names and any(name in table.names for name in PREFERRED):
        share = table.share("input", lambda value: isinstance(value, dict) and "messages" in value)
        chosen, rejected = (
            next((name for name in names if name in table.names), "") for names in (PREFERRED, NON_PREFERRED)
        )
        if share > 0.5:
            mapping: dict[Role, str] = {"messages": "input", "preferred": chosen, "non_preferred": rejected}
            return Detection("openai-preference", mapping, _percent(PAIR * share, 9))
    if "messages" in table.names:
        share = table.share(
            "messages", lambda value: isinstance(value, list) and all(_has_role(turn) for turn in value)
        )
        if share > 0.5:
            return Detection(
                "openai-chat", {"messages": "messages"}, _percent(PAIR * share * table.filled("messages"), 9)
            )
    return None


def _has_role(turn: Any) -> bool:
    return isinstance(turn, dict) and "role" in turn


def _conversation(table: Table) -> Detection | None:
    likely = [name for name in table.names if table.share(name, turns_of) > 0.8]
    chosen, rejected = table.find(CHOSEN), table.find(REJECTED)
    likely = [name for name in likely if name not in (chosen, rejected)]
    if not likely:
        return None
    known = [name for name in likely if _key(name) in CONVERSATION]
    name = (known or likely)[0]
    mapping: dict[Role, str] = {"messages": name}
    names = PAIR if known else KNOWN if len(likely) == 1 else PLACE
    if tools := table.find(TOOLS):
        mapping["tools"] = tools
    if system := table.find(SYSTEM):
        mapping["system"] = system
    if chosen and rejected:
        mapping |= {"preferred": chosen, "non_preferred": rejected}
        filled = table.filled(name, chosen, rejected)
        return Detection("sharegpt-preference", mapping, _percent(names * filled, 9))
    return Detection("sharegpt", mapping, _percent(names * table.filled(name) * table.share(name, turns_of), 9))


def _preference(table: Table) -> Detection | None:
    chosen, rejected = table.find(CHOSEN), table.find(REJECTED)
    if not chosen or not rejected:
        return None
    mapping: dict[Role, str] = {"preferred": chosen, "non_preferred": rejected}
    if system := table.find(SYSTEM):
        mapping["system"] = system
    if user := table.find(USER):
        mapping["user"] = user
        return Detection("preference-table", mapping, _percent(PAIR * table.filled(user, chosen, rejected), 9))
    # Whole conversations on both sides, which begin alike.
    share = min(table.share(chosen, turns_of), table.share(rejected, turns_of))
    return Detection("preference-table", mapping, _percent(PAIR * share * table.filled(chosen, rejected), 9))


def _alpaca(table: Table) -> Detection | None:
    user, assistant = table.find(("instruction",)), table.find(("output", "response"))
    if not user or not assistant or not table.find(("input",)):
        return None
    mapping: dict[Role, str] = {"user": user, "context": table.find(("input",)) or "", "assistant": assistant}
    return Detection("alpaca", *_with_system(table, mapping, PAIR))


def _pair(table: Table) -> Detection | None:
    for user, assistant in PAIRS:
        names = table.find((user,)), table.find((assistant,))
        if names[0] and names[1]:
            return Detection("table", *_with_system(table, {"user": names[0], "assistant": names[1]}, PAIR))
    system, assistant = table.find(SYSTEM), table.find(ASSISTANT)
    user, points = table.find(USER), KNOWN
    if not user or not assistant or user == assistant:
        points = ALIKE
        assistant = assistant or table.find_like(ASSISTANT)
        user = user if user and user != assistant else table.find_like(USER, but=assistant)
    texts = [name for name in table.names if name != system]
    if (not user or not assistant) and len(texts) == 2:
        user, assistant, points = texts[0], texts[1], PLACE
    if not user or not assistant:
        return None
    return Detection("table", *_with_system(table, {"user": user, "assistant": assistant}, points))


def _with_system(table: Table, mapping: dict[Role, str], points: int) -> tuple[dict[Role, str], int]:
    user, assistant = mapping["user"], mapping["assistant"]
    if system := table.find(SYSTEM):
        mapping["system"] = system
    if "context" not in mapping and (context := table.find(("context",))):
        mapping["context"] = context
    texts = 3 * sum(table.share(name, lambda value: " " in plain(value).strip()) > 0.5 for name in (user, assistant))
    differ = 3 if any(row.get(user) != row.get(assistant) for row in table.rows) else 0
    return mapping, _percent(points * table.filled(user, assistant), texts + differ)


def _percent(points: float, more: float) -> int:
    return min(99, round(points + more)) if points else 0


def _key(name: str) -> str:
    return _SEPARATORS.sub("_", name.strip().lower())
