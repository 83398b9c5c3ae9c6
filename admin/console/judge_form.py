"""Judges as a form has them: fields to what the API takes, and back."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

from admin.console.api import ApiRefused, Json

RULES: dict[str, tuple[str, str]] = {
    "json": ("Is JSON", '{"type": "json"}'),
    "json_schema": ("Fits a JSON Schema", '{"type": "json_schema", "schema": {"type": "object"}}'),
    "regex": ("Matches a pattern", '{"type": "regex", "pattern": "", "must": "match"}'),
    "length": ("Has a length", '{"type": "length", "unit": "words", "least": 1, "most": 200}'),
    "language": ("Is in a language", '{"type": "language", "languages": ["en"]}'),
    "must_cite_if_claims": ("Cites what it claims", '{"type": "must_cite_if_claims"}'),
    "citations_in_context": ("Citations are real", '{"type": "citations_in_context"}'),
    "groundedness": ("Is grounded in its context", '{"type": "groundedness", "least": 0.8}'),
    "refusal": ("Does not refuse", '{"type": "refusal"}'),
    "repetition": ("Does not repeat itself", '{"type": "repetition"}'),
    "personal_data": ("Tells no personal data", '{"type": "personal_data"}'),
    "secrets": ("Tells no secrets", '{"type": "secrets"}'),
    "tool_calls": ("Calls tools rightly", '{"type": "tool_calls", "required": false}'),
}
"""Type -> what it says of an answer, and how it begins. docs/validators.md has their fields."""


def spec_of(form: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ApiRefused: a rule's JSON cannot be read."""
    if form.get("type") == "rule":
        return {"type": "rule", "rules": list(_rules(form))}
    sampling = {"temperature": _number(form.get("temperature"))}
    spec: dict[str, Any] = {
        "type": "llm",
        "model": str(form.get("model") or "").strip(),
        "panel": _names(form.get("panel")),
        "combine": form.get("combine") or "mean",
        "prompt": form.get("prompt") or "",
        "reference": bool(form.get("reference")),
        "repeats": _number(form.get("repeats")) or 1,
        "sampling": {name: value for name, value in sampling.items() if value is not None},
    }
    kept = _json_of(form.get("kept") or "{}", "kept")
    return {**cast("dict[str, Any]", kept), **spec}


def watch_of(form: Mapping[str, Any]) -> dict[str, Any] | None:
    """None: it judges what it is asked to."""
    if not form.get("watches"):
        return None
    share = _number(form.get("rate"))
    watch: dict[str, Any] = {
        "rate": share / 100 if isinstance(share, int | float) else share,
        "routes": _names(form.get("routes")),
        "models": _names(form.get("models")),
        "max_per_hour": _number(form.get("max_per_hour")),
    }
    return {name: value for name, value in watch.items() if value is not None}


def body_of(form: Mapping[str, Any]) -> dict[str, Any]:
    """For POST /v1/judges. Raises ApiRefused."""
    body: dict[str, Any] = {
        "name": str(form.get("name") or "").strip(),
        "spec": spec_of(form),
        "watch": watch_of(form),
        "min_kappa": _number(form.get("min_kappa")),
    }
    if form.get("criterion"):
        body["criterion"] = form["criterion"]
    return body


def fields_of(judge: Json) -> dict[str, Any]:
    """The form of a judge that is there."""
    spec, watch = judge["version"]["spec"], judge["watch"]
    fields: dict[str, Any] = {
        "type": judge["kind"],
        "name": judge["name"],
        "criterion": judge["version"]["criterion"],
        "min_kappa": judge["min_kappa"],
        "watches": "true" if watch else "",
    }
    if watch:
        fields |= {"rate": f"{watch['rate'] * 100:g}", "max_per_hour": watch["max_per_hour"] or ""}
        fields |= {name: ", ".join(watch[name]) for name in ("routes", "models")}
        fields["watch_metadata"] = watch["metadata"]
    if judge["kind"] == "rule":
        return fields | {
            f"rule_{place}": json.dumps(rule, ensure_ascii=False) for place, rule in enumerate(spec["rules"])
        }
    fields |= {name: spec.get(name) for name in ("model", "prompt", "combine", "repeats")}
    fields |= {"panel": ", ".join(spec.get("panel", [])), "reference": "true" if spec.get("reference") else ""}
    fields["temperature"] = (spec.get("sampling") or {}).get("temperature", "")
    fields["kept"] = json.dumps({name: spec[name] for name in ("examples", "structured") if name in spec})
    return fields


def _rules(form: Mapping[str, Any]) -> Iterator[Any]:
    """Those that are filled in."""
    for name, value in form.items():
        if name.startswith("rule_") and str(value).strip():
            yield _json_of(str(value), name)


def _json_of(text: str, param: str) -> Any:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ApiRefused(400, {"message": f"This is no JSON: {error}.", "param": param}) from None
    if not isinstance(found, dict):
        raise ApiRefused(400, {"message": "This is no JSON object.", "param": param})
    return cast("Any", found)


def _names(text: Any) -> list[str]:
    return [each.strip() for each in str(text or "").split(",") if each.strip()]


def _number(text: Any) -> int | float | str | None:
    """What is no number goes to the API as it is, which names the field."""
    said = str(text if text is not None else "").strip()
    if not said:
        return None
    for read in (int, float):
        try:
            return read(said)
        except ValueError:
            continue
    return said
