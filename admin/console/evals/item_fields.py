"""The fields of an eval's items, as a form has them: detected, corrected, and guessed at."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, cast

import msgspec

from admin.console.api import Json

TYPES = ("string", "number", "integer", "boolean", "array", "object")
ANYTHING = "anything"
MOST_SHOWN = 60
"""Fields in the form; the others stay as they were found."""
SHOWN_EXAMPLES, SHOWN_TEXT = 3, 160
ANSWERS = (
    "expected", "answer", "label", "reference", "ideal", "target", "output", "completion", "response", "category",
    "expected_answer", "expected_output", "correct_answer", "correct", "solution", "gold", "class",
)  # fmt: skip
QUESTIONS = (
    "question", "input", "prompt", "query", "instruction", "ticket", "text", "message", "messages", "user", "request",
)  # fmt: skip


class Found(msgspec.Struct, kw_only=True):
    """What is known of the data, from one step of the form to the next."""

    file_id: str = ""
    """Empty: stored completions."""
    filename: str = ""
    items: int = 0
    with_sample: int = 0
    layout: str = "log"
    ready: bool = False
    """The file is the data of a run as it is."""
    limit: int | None = None
    schema: dict[str, Any] = {}
    examples: list[dict[str, Any]] = []
    notes: list[str] = []
    skipped: int = 0

    @property
    def from_log(self) -> bool:
        return not self.file_id

    def written(self) -> str:
        """For a hidden field."""
        return msgspec.json.encode(self).decode()


def found_in(file: Json, looked: Json, limit: int | None) -> Found:
    """Args: file: of the API; looked: what POST /v1/evals/import says of it."""
    return Found(
        file_id=file["id"],
        filename=file["filename"],
        items=looked["items"],
        with_sample=looked["with_sample"],
        layout=looked["layout"],
        ready=looked["ready"],
        limit=limit,
        schema=looked["item_schema"],
        examples=[
            {name: _short(value) for name, value in each.items()} for each in looked["examples"][:SHOWN_EXAMPLES]
        ],
        notes=[*looked["notes"], *(f"Row {each['row']} {each['reason']}." for each in looked["skipped"]["rows"][:5])],
        skipped=looked["skipped"]["count"],
    )


def read(written: Any) -> Found | None:
    """What a form carried along; None: there is nothing, or nothing that can be read."""
    try:
        found = msgspec.json.decode(str(written or ""), type=Found)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return found if isinstance(found.schema.get("properties", {}), dict) else None


def properties(found: Found) -> dict[str, Any]:
    return cast("dict[str, Any]", found.schema.get("properties") or {})


def rows_of(found: Found, form: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name, type, choices of types, whether it is in every item, and an example; as they are filled in, else as found."""
    was_filled = "fields_shown" in form
    required = _required(found)
    rows: list[dict[str, Any]] = []
    for place, (name, described) in enumerate(list(properties(found).items())[:MOST_SHOWN]):
        kind = type_of(described)
        chosen = str(form.get(f"f{place}_type") or kind) if was_filled else kind
        always = bool(form.get(f"f{place}_required")) if was_filled else name in required
        kinds = list(dict.fromkeys([kind, *TYPES, ANYTHING]))
        example = next((each[name] for each in found.examples if name in each), None)
        rows.append({"name": name, "type": chosen, "types": kinds, "required": always, "example": example})
    return rows


def schema_of(found: Found, form: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of an item, as corrected."""
    rows = {each["name"]: each for each in rows_of(found, form)}
    before = _required(found)
    described = {name: _corrected(each, rows.get(name)) for name, each in properties(found).items()}
    required = [name for name in described if (rows[name]["required"] if name in rows else name in before)]
    return {"type": "object", "properties": described, "required": required}


def type_of(described: Any) -> str:
    """As a choice says it: `integer or string` where both were found."""
    kind = described.get("type") if isinstance(described, dict) else None
    if isinstance(kind, list):
        return " or ".join(str(each) for each in cast("list[Any]", kind))
    return str(kind or ANYTHING)


def names_of(schema: Mapping[str, Any], *kinds: str) -> list[str]:
    """Fields of these types, all of them by default."""
    return [name for name, each in in_order(schema).items() if not kinds or type_of(each) in kinds]


def in_order(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as the data had them: the database sorts names, but not the list of those that are in every item."""
    fields = cast("dict[str, Any]", schema.get("properties") or {})
    required = cast("list[Any]", schema.get("required") or [])
    always = [name for name in required if isinstance(name, str) and name in fields]
    return {name: fields[name] for name in (*always, *fields)}


def answer_in(schema: Mapping[str, Any]) -> str:
    """The field with the right answer, by its name; else the last text beside another one. Empty: nobody can tell."""
    texts = [*names_of(schema, "string"), *names_of(schema, "number", "integer", "boolean")]
    known = _named(texts, ANSWERS)
    strings = names_of(schema, "string")
    return known or (strings[-1] if len(strings) > 1 else "")


def question_in(schema: Mapping[str, Any]) -> str:
    """The field that is asked: by its name, else the first text that is not the answer."""
    answer = answer_in(schema)
    usable = [name for name in names_of(schema, "string", "array") if name != answer]
    return _named(usable, QUESTIONS) or next(iter(usable), "")


def messages_in(schema: Mapping[str, Any]) -> list[str]:
    """Fields that may be conversations."""
    return names_of(schema, "array")


def template(name: str) -> str:
    """Of a field, for prompts and graders."""
    return f"{{{{ item.{name} }}}}" if name else ""


def _named(names: Iterable[str], known: Iterable[str]) -> str:
    by_key = {name.lower().replace(" ", "_").replace("-", "_"): name for name in reversed(list(names))}
    return next((by_key[each] for each in known if each in by_key), "")


def _required(found: Found) -> list[Any]:
    required = found.schema.get("required")
    return cast("list[Any]", required) if isinstance(required, list) else []


def _corrected(described: Any, row: dict[str, Any] | None) -> Any:
    """What was found keeps what else is known of it."""
    if row is None or row["type"] == type_of(described):
        return described
    if row["type"] not in TYPES:
        return {}
    return {"type": row["type"]}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHOWN_TEXT else f"{text[: SHOWN_TEXT - 1]}\u2026"
