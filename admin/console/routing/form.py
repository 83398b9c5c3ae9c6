"""A route as it is filled in: fields to what the API takes. A fault found here has the API's path, so that it stands at its field."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from litestar.datastructures import FormMultiDict

from admin.console.api import ApiRefused

CONDITIONS = ("rate_limit", "server_error", "connection", "timeout", "context_length", "not_loaded")
MOST_CHECKS = 10
OF_CHECK = ("name", "judge", "mode", "ms", "rules")
NUMBERS: dict[str, tuple[str, str, float | None]] = {
    "retries": ("retries", "count", 1),
    "backoff_ms": ("retries", "backoff_ms", 200),
    "max_backoff_ms": ("retries", "max_backoff_ms", 5000),
    "connect": ("timeouts", "connect", None),
    "first_token": ("timeouts", "first_token", None),
    "idle": ("timeouts", "idle", None),
    "total": ("timeouts", "total", None),
    "failures": ("breaker", "failures", 5),
    "open_seconds": ("breaker", "open_seconds", 10),
}
"""Field -> the part of a route that it is in, its name there, and what an empty field means."""


def spec_of(form: FormMultiDict, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The fields of a route; what the form does not ask for is as in `before`. Raises ApiRefused."""
    hedge = _number(form, "hedge", "hedge.after_ms", None)
    return {
        "targets": _targets(form),
        "fallbacks": _fallbacks(form.get("fallbacks") or ""),
        "sticky": form.get("sticky") or None,
        "balance": form.get("balance") or "weight",
        **_parts(form, before or {}),
        "hedge": {"after_ms": hedge} if hedge else None,
        "few_shot": _few_shot(form, (before or {}).get("few_shot")),
        "cache": _cache(form, (before or {}).get("cache")),
        "checks": list(_checks(form)),
    }


def _targets(form: FormMultiDict) -> list[dict[str, Any]]:
    models, weights = form.getall("model", []), form.getall("weight", [])
    given = [(model.strip(), text) for model, text in zip(models, weights, strict=False) if model.strip()]
    return [
        {"model": model, "weight": _weight(text, f"targets[{place}].weight")}
        for place, (model, text) in enumerate(given)
    ]


def _weight(text: str, path: str) -> float:
    try:
        return float(text) if text.strip() else 1.0
    except ValueError:
        raise ApiRefused(400, {"message": f"A weight is a number, not {text[:40]}.", "param": path}) from None


def _fallbacks(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in filter(None, (each.strip() for each in text.splitlines())):
        model, _, conditions = line.partition("|")
        named = [each.strip().replace(" ", "_") for each in conditions.split(",") if each.strip()]
        found.append({"model": model.strip()} | ({"on": named} if named else {}))
    return found


def _parts(form: FormMultiDict, before: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Retries, timeouts and breaker."""
    found: dict[str, dict[str, Any]] = {part: dict(before.get(part) or {}) for part, _, _ in NUMBERS.values()}
    for field, (part, name, default) in NUMBERS.items():
        if field in form:
            found[part][name] = _number(form, field, f"{part}.{name}", default)
    return found


def _few_shot(form: FormMultiDict, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    count = _number(form, "few_shot", "few_shot.count", 0)
    if not count:
        return None
    tags = [each.strip() for each in (form.get("few_shot_tags") or "").split(",") if each.strip()]
    asked = {
        name: _number(form, field, f"few_shot.{name}", default)
        for field, name, default in (("few_shot_tokens", "max_tokens", 1000), ("few_shot_score", "min_score", None))
        if field in form
    }
    return dict(before or {}) | {"count": count, "tags": tags} | asked


def _cache(form: FormMultiDict, before: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if "cache" not in form:  # a page that was opened before this field was there
        return dict(before) if before else None
    if not (mode := form.get("cache")):
        return None
    return {"mode": mode, "ttl_seconds": _number(form, "cache_seconds", "cache.ttl_seconds", 3600)}


def _checks(form: FormMultiDict) -> Iterator[dict[str, Any]]:
    """Those that are filled in. Of a judge's rules only the judge is said: the API takes them as they are now."""
    place = 0
    for number in range(MOST_CHECKS):
        said = {name: (form.get(f"check_{number}_{name}") or "").strip() for name in OF_CHECK}
        if not (said["name"] or said["judge"] or said["rules"]):
            continue
        path = f"checks[{place}]"
        rules = {"judge": said["judge"]} if said["judge"] else {"rules": _rules(said["rules"], f"{path}.rules")}
        ms = _number(form, f"check_{number}_ms", f"{path}.timeout_ms", 500)
        yield {"name": said["name"], "mode": said["mode"] or "flag", "timeout_ms": ms} | rules
        place += 1


def _rules(text: str, path: str) -> list[Any]:
    try:
        found = msgspec.json.decode(text) if text else []
    except msgspec.DecodeError as error:
        raise ApiRefused(400, {"message": f"This is no JSON: {error}.", "param": path}) from None
    return found if isinstance(found, list) else [found]  # one rule without its brackets


def _number(form: FormMultiDict, name: str, path: str, default: float | None) -> Any:
    text = (form.get(name) or "").strip()
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        raise ApiRefused(400, {"message": f"A number is expected, not {text[:40]}.", "param": path}) from None
    return int(number) if number.is_integer() else number
