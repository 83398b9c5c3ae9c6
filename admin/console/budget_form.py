"""A budget, between a form and the API."""

from collections.abc import Mapping
from typing import Any

from admin.console import entered
from admin.console.api import Json


def wanted(form: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What POST /v1/budgets takes, but for whose it is. Args: prefix: of the fields' names."""
    name = entered.text(form, f"{prefix}name")
    fields: dict[str, Any] = {
        "period": entered.text(form, f"{prefix}period") or "month",
        "limit_usd": entered.amount(form, f"{prefix}limit_usd"),
        "hard": entered.text(form, f"{prefix}hard") != "false",
        "name": name or None,
    }
    if f"{prefix}thresholds" in form:
        percents = entered.words(form, f"{prefix}thresholds")
        fields["thresholds"] = [int(each) if each.isdecimal() else each for each in (e.strip("%") for e in percents)]
    return fields


def as_filled(budget: Json) -> dict[str, Any]:
    """The same of a budget that there is, for the form that changes it."""
    return {
        "name": budget["name"] or "",
        "limit_usd": f"{budget['limit_usd']:.9f}".rstrip("0").rstrip("."),
        "hard": str(budget["hard"]).lower(),
        "thresholds": ", ".join(map(str, budget["thresholds"])),
    }
