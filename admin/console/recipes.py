"""Recipes of datasets as a form has them: fields to what the API takes, and back; and what two of them differ in."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from admin.console.api import ApiRefused, Json
from admin.console.entered import pair_lines, pairs
from gateway.protocol.recipes import PAIR_SOURCES, PERSONAL_KINDS, Recipe

CONDITIONS, MOST_CONDITIONS = 3, 20
"""Rows for criteria on the form: so many, or one more than are filled in."""
SIGNALS = ("edits", "human", "rule_and_judge", "unjudged", "allow_untrusted")
CAPS = ("per_user", "per_topic", "total")
OF_CONDITION = ("criterion", "version", "source", "passed", "labels", "min_score", "min_judges", "agreement")
OF_PAIRS = ("min_margin", "max_similarity", "min_differing_tokens")
SEVERAL = ("redaction", "pair_sources", "evals")
"""Fields with any number of values."""

Fields = dict[str, Any]
"""Name of a field -> text; of SEVERAL a list of texts."""


def fields_of(form: Any) -> Fields:
    """Of what was sent (a multi-dict): a box that is not ticked is not there."""
    found: Fields = {name: str(value).strip() for name, value in form.items() if name not in SEVERAL}
    return found | {name: [str(each) for each in form.getall(name, [])] for name in SEVERAL}


def recipe_of(fields: Fields) -> dict[str, Any]:
    """For the API, which says what is wrong with values. Raises ApiRefused: the JSON or a time cannot be read."""
    if text := fields.get("json"):
        return _of_json(text)
    recipe: dict[str, Any] = {
        "kind": fields.get("kind") or "sft",
        "sources": {"exchanges": _exchanges(fields), "examples": _examples(fields)},
        "criteria": list(_conditions(fields)),
        "positive": {name: bool(fields.get(name)) for name in SIGNALS},
        "turns": _given({"learn": fields.get("learn"), "max_turns": _number(fields.get("max_turns"))}),
        "caps": _given({name: _number(fields.get(name)) for name in CAPS}),
        "system": _given({"prompt": fields.get("system"), "text": fields.get("system_text")}),
        "redaction": _given({"kinds": fields["redaction"], "region": fields.get("region")}),
        "duplicates": _given(
            {
                "exact": bool(fields.get("exact")),
                "near": bool(fields.get("near")),
                "threshold": _number(fields.get("near_threshold")),
            }
        ),
        "split": _split(fields),
        "contamination": _contamination(fields),
        "self_training": _self_training(fields),
    }
    if recipe["kind"] == "preference":
        recipe["pairs"] = _pairs(fields)
    return recipe


def fields_for(recipe: Mapping[str, Any]) -> Fields:
    """The form of a recipe with every default filled in; in JSON where the form cannot say it."""
    fields = {**_source_fields(recipe), **_rule_fields(recipe)}
    if not _says(fields, recipe):
        fields["json"] = written(recipe)
    return fields


def _says(fields: Fields, recipe: Mapping[str, Any]) -> bool:
    try:
        return _complete(recipe_of(fields)) == _complete(recipe)
    except ApiRefused:  # metadata of several lines
        return False


def usual() -> Fields:
    """Of a new dataset."""
    return fields_for(_complete({"kind": "sft"})) | {"json": ""}


def written(recipe: Json) -> str:
    return json.dumps(recipe, indent=2, ensure_ascii=False)


def differences(before: Json, after: Json) -> list[tuple[str, str, str]]:
    """Path, before, after: of what is not the same in two recipes."""
    old, new = dict(_flat(before)), dict(_flat(after))
    paths = dict.fromkeys([*old, *new])
    return [(path, _shown(old.get(path)), _shown(new.get(path))) for path in paths if old.get(path) != new.get(path)]


def without(recipe: Json, exchanges: list[str], examples: list[str]) -> Json:
    """The recipe, but for these rows."""
    changed = json.loads(json.dumps(recipe))
    for name, ids in (("exchanges", exchanges), ("examples", examples)):
        if ids and changed["sources"][name] is not None:
            known = changed["sources"][name].get("excluded", [])
            changed["sources"][name]["excluded"] = list(dict.fromkeys([*known, *ids]))
    return changed


def _of_json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiRefused(400, {"message": f"The recipe is no JSON: {error}.", "param": "json"}) from None
    if not isinstance(found, dict):
        raise ApiRefused(400, {"message": "A recipe is a JSON object.", "param": "json"})
    return found


def conditions(fields: Fields) -> int:
    """Rows for criteria."""
    filled = [place for place in range(MOST_CONDITIONS) if fields.get(f"criterion_{place}")]
    return max(CONDITIONS, min(MOST_CONDITIONS, filled[-1] + 2 if filled else 0))


def _exchanges(fields: Fields) -> dict[str, Any] | None:
    if not fields.get("from_log"):
        return None
    return _given(
        {
            "models": _names(fields.get("models")),
            "routes": _names(fields.get("routes")),
            "metadata": pairs(fields, "metadata", "recipe.sources.exchanges.metadata"),
            "excluded_users": _names(fields.get("excluded_users")),
            "excluded": _names(fields.get("excluded")),
            "created_after": _second("created_after", fields.get("created_after")),
            "created_before": _second("created_before", fields.get("created_before")),
        }
    )


def _examples(fields: Fields) -> dict[str, Any] | None:
    if not fields.get("from_examples"):
        return None
    tags, excluded = _names(fields.get("example_tags")), _names(fields.get("excluded_examples"))
    return _given({"tags": tags, "excluded": excluded, "min_score": _number(fields.get("example_score"))})


def _conditions(fields: Fields) -> Iterator[dict[str, Any]]:
    for place in range(MOST_CONDITIONS):
        said = {name: fields.get(f"{name}_{place}", "") for name in OF_CONDITION}
        if said["criterion"]:
            numbers = {name: _number(said[name]) for name in ("version", "min_score", "min_judges")}
            passed = {"true": True, "false": False}.get(said["passed"])
            labels = {"labels": _names(said["labels"]) or None, "agreement": _share(said["agreement"])}
            yield _given(
                {"criterion": said["criterion"], "source": said["source"], "passed": passed, **numbers, **labels}
            )


def _split(fields: Fields) -> dict[str, Any]:
    by = ["conversation", *(["user"] if fields.get("split_user") else [])]
    threshold = _number(fields.get("split_threshold"))
    return _given({"validation": _share(fields.get("validation")), "by": by, "threshold": threshold})


def _contamination(fields: Fields) -> dict[str, Any]:
    files, threshold = _names(fields.get("eval_files")), _number(fields.get("eval_threshold"))
    return _given({"evals": fields["evals"], "files": files, "threshold": threshold})


def _self_training(fields: Fields) -> dict[str, Any]:
    share, depth = _share(fields.get("own_share")), _number(fields.get("own_depth"))
    return _given({"max_share": share, "max_depth": depth})


def _pairs(fields: Fields) -> dict[str, Any]:
    numbers = {name: _number(fields.get(name)) for name in OF_PAIRS}
    boxes = {name: bool(fields.get(name)) for name in ("balance_length", "allow_refusals")}
    return _given({"sources": fields["pair_sources"], **numbers, **boxes})


def _source_fields(recipe: Mapping[str, Any]) -> Fields:
    exchanges, examples = recipe["sources"]["exchanges"] or {}, recipe["sources"]["examples"] or {}
    return {
        "kind": recipe["kind"],
        "from_log": "true" if recipe["sources"]["exchanges"] is not None else "",
        "from_examples": "true" if recipe["sources"]["examples"] is not None else "",
        **{name: ", ".join(exchanges.get(name, [])) for name in ("models", "routes", "excluded_users", "excluded")},
        "metadata": pair_lines(exchanges.get("metadata", {})),
        **{name: _moment(exchanges.get(name)) for name in ("created_after", "created_before")},
        "example_tags": ", ".join(examples.get("tags", [])),
        "excluded_examples": ", ".join(examples.get("excluded", [])),
        "example_score": _text(examples.get("min_score")),
        "evals": recipe["contamination"]["evals"],
        "eval_files": ", ".join(recipe["contamination"]["files"]),
        "eval_threshold": _text(recipe["contamination"]["threshold"]),
        "own_share": _percent(recipe["self_training"]["max_share"]),
        "own_depth": _text(recipe["self_training"]["max_depth"]),
    }


def _rule_fields(recipe: Mapping[str, Any]) -> Fields:
    fields: Fields = {name: "true" if recipe["positive"][name] else "" for name in SIGNALS}
    for place, condition in enumerate(recipe["criteria"]):
        fields |= {f"{name}_{place}": _text(condition.get(name)) for name in OF_CONDITION}
        fields[f"labels_{place}"] = ", ".join(condition["labels"])
        fields[f"agreement_{place}"] = _percent(condition["agreement"])
    pairs, duplicates = recipe["pairs"], recipe["duplicates"]
    return fields | {
        "learn": recipe["turns"]["learn"],
        "max_turns": _text(recipe["turns"]["max_turns"]),
        **{name: _text(recipe["caps"][name]) for name in CAPS},
        "system": recipe["system"]["prompt"],
        "system_text": recipe["system"]["text"] or "",
        "redaction": recipe["redaction"]["kinds"],
        "region": recipe["redaction"]["region"],
        "exact": "true" if duplicates["exact"] else "",
        "near": "true" if duplicates["near"] else "",
        "near_threshold": _text(duplicates["threshold"]),
        "validation": _percent(recipe["split"]["validation"]),
        "split_user": "true" if "user" in recipe["split"]["by"] else "",
        "split_threshold": _text(recipe["split"]["threshold"]),
        "pair_sources": pairs["sources"],
        **{name: _text(pairs[name]) for name in OF_PAIRS},
        **{name: "true" if pairs[name] else "" for name in ("balance_length", "allow_refusals")},
    }


def _complete(recipe: Mapping[str, Any]) -> Any:
    """With every default filled in; as it is where it is none."""
    try:
        return msgspec.to_builtins(msgspec.convert(recipe, Recipe))
    except msgspec.ValidationError:
        return recipe


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}


def _names(text: str | None) -> list[str]:
    return [each.strip() for each in (text or "").split(",") if each.strip()]


def _number(text: str | None) -> int | float | str | None:
    """What is no number goes to the API as it is, which names the field."""
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _share(text: str | None) -> Any:
    """Percent to a share of 1."""
    found = _number(text)
    return round(found / 100, 6) if isinstance(found, int | float) else found


def _second(name: str, text: str | None) -> int | None:
    """Raises ApiRefused."""
    if not text:
        return None
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        message = f"Write the time as 2026-11-21T13:00 (UTC), not '{text[:50]}'."
        raise ApiRefused(400, {"message": message, "param": f"recipe.sources.exchanges.{name}"}) from None


def _moment(unix: int | None) -> str:
    """For a field of a time: to the minute, or to the second where it is none."""
    if unix is None:
        return ""
    when = datetime.fromtimestamp(unix, UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%S" if when.second else "%Y-%m-%dT%H:%M")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _percent(share: float) -> str:
    return f"{share * 100:g}"


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else name)
    else:
        yield path, value


def _shown(value: Any) -> str:
    return "none" if value in (None, [], {}) else json.dumps(value, ensure_ascii=False).strip('"')


ALL_PERSONAL: tuple[str, ...] = PERSONAL_KINDS
ALL_PAIR_SOURCES: tuple[str, ...] = PAIR_SOURCES
