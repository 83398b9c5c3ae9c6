"""A route as it is filled in."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar.datastructures import FormMultiDict

from admin.console.api import ApiRefused

CONDITIONS = ("rate_limit", "server_error", "connection", "timeout", "context_length", "not_loaded")


def spec_of(form: FormMultiDict, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields of a route; what the form does not ask for is as in `before`. Raises ApiRefused."""
    spec: dict[str, Any] = {
        "targets": _targets(form),
        "fallbacks": _fallbacks(form.get("fallbacks") or ""),
        "sticky": form.get("sticky") or None,
        "balance": form.get("balance") or "weight",
        "retries": dict((before or {}).get("retries") or {}) | {"count": _number(form, "retries", 1)},
        "timeouts": dict((before or {}).get("timeouts") or {}) | {"first_token": _number(form, "first_token", None)},
        "few_shot": _few_shot(form, (before or {}).get("few_shot")),
        "checks": _json(form, "checks"),
    }
    hedge = _number(form, "hedge", None)
    return spec | {"hedge": {"after_ms": hedge} if hedge else None}


def fallback_lines(fallbacks: list[Mapping[str, Any]]) -> str:
    """As the form has them: one a line, with conditions where they are not all."""
    return "\n".join(
        each["model"] + ("" if len(each["on"]) == len(CONDITIONS) else f" | {', '.join(each['on'])}")
        for each in fallbacks
    )


def _targets(form: FormMultiDict) -> list[dict[str, Any]]:
    models, weights = form.getall("model", []), form.getall("weight", [])
    return [
        {"model": model.strip(), "weight": _weight(weight)}
        for model, weight in zip(models, weights, strict=False)
        if model.strip()
    ]


def _weight(text: str) -> float:
    try:
        return float(text) if text.strip() else 1.0
    except ValueError:
        raise ApiRefused(400, {"message": f"A weight is a number, not {text[:40]}.", "param": "targets"}) from None


def _fallbacks(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in filter(None, (each.strip() for each in text.splitlines())):
        model, _, conditions = line.partition("|")
        named = [each.strip().replace(" ", "_") for each in conditions.split(",") if each.strip()]
        found.append({"model": model.strip()} | ({"on": named} if named else {}))
    return found


def _few_shot(form: FormMultiDict, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    count = _number(form, "few_shot", 0)
    if not count:
        return None
    tags = [each.strip() for each in (form.get("few_shot_tags") or "").split(",") if each.strip()]
    return dict(before or {}) | {"count": count, "tags": tags}


def _number(form: FormMultiDict, name: str, default: float | None) -> Any:
    text = (form.get(name) or "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        raise ApiRefused(400, {"message": f"A number is expected, not {text[:40]}.", "param": name}) from None
    return int(number) if number.is_integer() else number


def _json(form: FormMultiDict, name: str) -> Any:
    text = (form.get(name) or "").strip()
    try:
        return msgspec.json.decode(text) if text else []
    except msgspec.DecodeError as error:
        raise ApiRefused(400, {"message": f"This is no JSON: {error}.", "param": name}) from None
