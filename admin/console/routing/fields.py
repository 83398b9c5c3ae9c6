"""What the form of a route has in its fields: of a route that is there, or of a form that was refused."""

import json
from collections.abc import Mapping
from typing import Any

from litestar.datastructures import FormMultiDict

from admin.console.routing.form import CONDITIONS, MOST_CHECKS, NUMBERS, OF_CHECK

Fields = dict[str, Any]
TEXTS = ("name", "project_id", "fallbacks", "sticky", "balance", "hedge")
CACHE = ("cache", "cache_seconds")
SHOTS = ("few_shot", "few_shot_tags", "few_shot_tokens", "few_shot_score")


def fields_of(spec: Mapping[str, Any]) -> Fields:
    """Of a route, or of nothing."""
    shot, hedge, cache = (spec.get(part) or {} for part in ("few_shot", "hedge", "cache"))
    return {
        "targets": [{"model": each["model"], "weight": _shown(each["weight"])} for each in spec.get("targets") or []],
        "fallbacks": fallback_lines(spec.get("fallbacks") or []),
        "sticky": spec.get("sticky") or "",
        "balance": spec.get("balance") or "weight",
        **{field: _shown((spec.get(part) or {}).get(name)) for field, (part, name, _) in NUMBERS.items()},
        "hedge": _shown(hedge.get("after_ms")),
        "few_shot": _shown(shot.get("count")),
        "few_shot_tags": ", ".join(shot.get("tags") or []),
        "few_shot_tokens": _shown(shot.get("max_tokens")),
        "few_shot_score": _shown(shot.get("min_score")),
        "cache": cache.get("mode") or "",
        "cache_seconds": _shown(cache.get("ttl_seconds")),
        "checks": [_check(each) for each in spec.get("checks") or []],
    }


def fields_sent(form: FormMultiDict) -> Fields:
    """As they were filled in, without empty places: faults are counted without them."""
    pairs = zip(form.getall("model", []), form.getall("weight", []), strict=False)
    checks = [{name: form.get(f"check_{place}_{name}", "") for name in OF_CHECK} for place in range(MOST_CHECKS)]
    return {name: form.get(name, "") for name in (*TEXTS, *NUMBERS, *SHOTS, *CACHE)} | {
        "targets": [{"model": model, "weight": weight} for model, weight in pairs if model.strip()],
        "checks": [each for each in checks if each["name"].strip() or each["judge"].strip() or each["rules"].strip()],
    }


def fallback_lines(fallbacks: list[Mapping[str, Any]]) -> str:
    """One a line, with conditions where they are not all."""
    return "\n".join(
        each["model"] + ("" if len(each["on"]) == len(CONDITIONS) else f" | {', '.join(each['on'])}")
        for each in fallbacks
    )


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    rules = "" if check.get("judge") else json.dumps(check.get("rules") or [], ensure_ascii=False)
    return {
        "name": check["name"],
        "judge": check.get("judge") or "",
        "mode": check.get("mode") or "flag",
        "ms": _shown(check.get("timeout_ms")),
        "rules": rules,
    }


def _shown(value: float | None) -> str:
    """All of its digits: what another field is changed beside stays as it is."""
    return "" if value is None else str(int(value)) if float(value).is_integer() else str(value)
