"""Judges as a form has them: fields to what the API takes, and back."""

import json
from collections.abc import Mapping
from typing import Any, cast

from admin.console.api import ApiRefused, Json
from admin.console.entered import pair_lines, pairs
from admin.console.rules.form import fields_for, rows_for, rules_of


def spec_of(form: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ApiRefused: a rule's JSON cannot be read."""
    if form.get("type") == "rule":
        return {"type": "rule", "rules": rules_of(form)}
    kept = cast("dict[str, Any]", _json_of(form.get("kept") or "{}", "kept"))
    temperature = _number(form.get("temperature"))
    spec: dict[str, Any] = {
        "type": "llm",
        "model": str(form.get("model") or "").strip(),
        "panel": _names(form.get("panel")),
        "combine": form.get("combine") or "mean",
        "prompt": form.get("prompt") or "",
        "reference": bool(form.get("reference")),
        "repeats": _number(form.get("repeats")) or 1,
        "sampling": _others(kept.get("sampling")) | ({} if temperature is None else {"temperature": temperature}),
    }
    return {**kept, **spec}


def watch_of(form: Mapping[str, Any]) -> dict[str, Any] | None:
    """None: it judges what it is asked to."""
    if not form.get("watches"):
        return None
    share = _number(form.get("rate"))
    watch: dict[str, Any] = {
        "rate": share / 100 if isinstance(share, int | float) else share,
        "routes": _names(form.get("routes")),
        "models": _names(form.get("models")),
        "metadata": pairs(form, "watch_metadata", "watch.metadata"),
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
        fields["watch_metadata"] = pair_lines(watch["metadata"])
    if judge["kind"] == "rule":
        return fields | fields_for(rows_for(spec["rules"]))
    fields |= {name: spec.get(name) for name in ("model", "prompt", "combine", "repeats")}
    fields |= {"panel": ", ".join(spec.get("panel", [])), "reference": "true" if spec.get("reference") else ""}
    sampling = spec.get("sampling") or {}
    fields["temperature"] = sampling.get("temperature", "")
    kept = {name: spec[name] for name in ("examples", "structured") if name in spec}
    fields["kept"] = json.dumps(kept | {"sampling": _others(sampling)})
    return fields


def _others(sampling: Any) -> dict[str, Any]:
    """What of it the form does not show."""
    said = cast("dict[str, Any]", sampling) if isinstance(sampling, dict) else {}
    return {name: value for name, value in said.items() if name != "temperature"}


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
