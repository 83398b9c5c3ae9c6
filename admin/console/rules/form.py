"""Rules as a form has them: `rule_0_kind`, `rule_0_least`, ...; read, shown again, and made of rules that are there."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, cast

from admin.console.api import ApiRefused
from admin.console.rules.kinds import KINDS, RuleField, RuleKind, kind_of

Rule = dict[str, Any]
WHOLE = "rules_json"
"""A field for all rules as JSON, which counts in place of the others."""
_named = re.compile(r"rule_(\d{1,3})_(.+)")


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule of the form."""

    kind: str
    """In KINDS; empty: it is said in JSON."""
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    """Field -> text, a list of texts, or whether a box is ticked."""
    text: str = ""
    """JSON, of one that the fields cannot say."""

    @property
    def shape(self) -> RuleKind | None:
        return KINDS.get(self.kind)


def rules_of(form: Mapping[str, Any]) -> list[Rule]:
    """For the API, which says what is wrong with values. Raises ApiRefused: JSON cannot be read."""
    if text := str(form.get(WHOLE) or "").strip():
        return _list_of(text)
    return [_rule(row, f"spec.rules[{place}]") for place, row in enumerate(rows_of(form))]


def rows_of(form: Mapping[str, Any]) -> list[RuleRow]:
    """As they were filled in, in the order of their places."""
    places = sorted({int(found[1]) for name in form if (found := _named.fullmatch(name))})
    return [_row(form, place) for place in places]


def rows_for(rules: Iterable[Rule]) -> list[RuleRow]:
    return [_row_for(rule) for rule in rules]


def fields_for(rows: Iterable[RuleRow]) -> dict[str, Any]:
    """What a form would send."""
    found: dict[str, Any] = {}
    for place, row in enumerate(rows):
        found[f"rule_{place}_kind"] = row.kind
        found |= {f"rule_{place}_{name}": value for name, value in row.values.items()}
        found |= {} if row.kind else {f"rule_{place}_json": row.text}
    return found


def edited(form: Mapping[str, Any], do: str) -> dict[str, Any]:
    """The form with a rule more or less (`add`, `remove:0`), as JSON (`json`), or its JSON as fields (`fields`).

    Raises ApiRefused: JSON cannot be read.
    """
    others = {name: form[name] for name in form if not _named.fullmatch(name) and name != WHOLE}
    if do == "json":
        return others | {WHOLE: written(rules_of(form))}
    rows = rows_for(rules_of(form)) if do == "fields" else rows_of(form)
    if do == "add" and (kind := str(form.get("new_rule") or "")) in KINDS:
        rows.append(RuleRow(kind, {each.name: _filled(each, each.default) for each in KINDS[kind].fields}))
    if do.startswith("remove:"):
        rows = [row for place, row in enumerate(rows) if str(place) != do.removeprefix("remove:")]
    return others | fields_for(rows)


def written(rules: list[Rule]) -> str:
    return json.dumps(rules, indent=2, ensure_ascii=False)


def _row(form: Mapping[str, Any], place: int) -> RuleRow:
    kind = str(form.get(f"rule_{place}_kind") or "")
    if kind not in KINDS:
        return RuleRow("", text=str(form.get(f"rule_{place}_json") or ""))
    fields = KINDS[kind].fields
    return RuleRow(kind, {each.name: _sent(form, f"rule_{place}_{each.name}", each) for each in fields})


def _sent(form: Mapping[str, Any], name: str, of: RuleField) -> Any:
    if of.kind == "several":
        every = getattr(form, "getall", None)
        return [str(each) for each in (every(name, []) if every else form.get(name) or [])]
    return bool(form.get(name)) if of.kind == "box" else str(form.get(name) or "").strip()


def _row_for(rule: Rule) -> RuleRow:
    """In JSON where fields cannot say all of it."""
    if kind := kind_of(rule):
        row = RuleRow(kind, {each.name: _filled(each, _within(rule, each)) for each in KINDS[kind].fields})
        if _sorted(_rule(row, "")) == _sorted(rule):
            return row
    return RuleRow("", text=json.dumps(rule, ensure_ascii=False))


def _rule(row: RuleRow, path: str) -> Rule:
    """Raises ApiRefused, which names the field below `path`."""
    if row.shape is None:
        return _object(row.text, path)
    rule: Rule = {"type": row.kind.partition(".")[0], **json.loads(json.dumps(row.shape.start))}
    for name, value in _values(row, path):
        parent, _, last = name.rpartition(".")
        (rule[parent] if parent else rule)[last] = value
    return rule


def _values(row: RuleRow, path: str) -> Iterator[tuple[str, Any]]:
    """Those that are not as they would be anyway."""
    for each in row.shape.fields if row.shape else ():
        value = _read(row.values[each.name], each, f"{path}.{each.name}")
        if value is not None and (value != each.default or each.default is None):
            yield each.name, value


def _read(said: Any, of: RuleField, path: str) -> Any:
    """None: it was left out. What is no number goes to the API as it is, which names the field."""
    match of.kind:
        case "box" | "several":
            return said
        case "names":
            return [each.strip() for each in said.split(",") if each.strip()]
        case "json":
            return _object(said, path) if said else None
        case "number":
            return _number(said) if said else None
        case _:
            return said or ("" if of.is_needed else None)


def _filled(of: RuleField, value: Any) -> Any:
    """As its field shows it."""
    match of.kind:
        case "box":
            return bool(value)
        case "several":
            return list(value or [])
        case "names":
            return ", ".join(value or [])
        case "json":
            return json.dumps(value, indent=2, ensure_ascii=False) if value is not None else ""
        case _:
            return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _within(rule: Rule, of: RuleField) -> Any:
    found: Any = rule
    for name in of.name.split("."):
        found = found.get(name, of.default)
    return found


def _sorted(value: Any) -> Any:
    """The order of names in a list says nothing."""
    if isinstance(value, dict):
        return {name: _sorted(each) for name, each in cast("dict[str, Any]", value).items()}
    return sorted(cast("list[Any]", value), key=repr) if isinstance(value, list | tuple) else value


def _number(text: str) -> int | float | str:
    for read in (int, float):
        try:
            found = read(text)
        except ValueError:
            continue
        return found if isfinite(found) else text
    return text


def _object(text: str, path: str) -> dict[str, Any]:
    found = _json(text, path)
    if not isinstance(found, dict):
        raise ApiRefused(400, {"message": "This is no JSON object.", "param": path})
    return cast("dict[str, Any]", found)


def _list_of(text: str) -> list[Rule]:
    found = _json(text, WHOLE)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in cast("list[Any]", found)):
        raise ApiRefused(400, {"message": "Rules are a JSON list of objects.", "param": WHOLE})
    return cast("list[Rule]", found)


def _json(text: str, param: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiRefused(400, {"message": f"This is no JSON: {error}.", "param": param}) from None
