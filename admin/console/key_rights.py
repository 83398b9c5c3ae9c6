"""What a key may do, between a form and the API."""

from collections.abc import Mapping
from typing import Any

from litestar.datastructures import FormMultiDict

from admin.console import entered
from admin.console.api import Json
from gateway.keys.scopes import SCOPES

LOGGING = {"full": "Everything", "metadata": "No texts", "off": "The bill alone"}
GROUPS = {
    "Models": ("model.", "api.model.", "api.graders."),
    "Training": ("api.files.", "api.fine_tuning.", "api.datasets.", "api.examples."),
    "Quality": ("api.feedback.", "api.judgments.", "api.reviews.", "api.evals."),
    "Log and budgets": ("api.exchanges.", "api.saved_views.", "api.lineage.", "api.budgets."),
}
"""How scopes are shown: title -> how their names begin."""


def scope_groups() -> dict[str, dict[str, str]]:
    """Title -> scope -> what it lets a key do; each scope once."""
    left = dict(SCOPES)
    groups: dict[str, dict[str, str]] = {}
    for title, beginnings in GROUPS.items():
        groups[title] = {name: left.pop(name) for name in list(left) if name.startswith(beginnings)}
    return groups | {"Other": left}


def rights(form: FormMultiDict, *, is_new: bool) -> dict[str, Any]:
    """What the API takes; the name, too. Raises ApiRefused.

    Args:
        is_new: an empty expiry is "never"; else it leaves what was.
    """
    wanted: dict[str, Any] = {
        "name": entered.text(form, "name") or None,
        "logging": entered.text(form, "logging") or "full",
        "allowed_models": entered.parted(form, "allowed_models") or None,
        "tags": entered.parted(form, "tags"),
        "scopes": chosen_scopes(form) or None,
    }
    if "tier" in form:
        wanted["tier"] = entered.text(form, "tier") or None
    if not is_new and wanted["name"] is None:
        del wanted["name"]
    return wanted | _expiry(form)


def chosen_scopes(form: FormMultiDict) -> list[str]:
    return [str(each) for each in form.getall("scopes", [])]


def as_filled(key: Json) -> dict[str, Any]:
    """The same of a key that there is, for the form that changes it."""
    return {
        "name": key["name"],
        "logging": key["logging"],
        "allowed_models": ", ".join(key["allowed_models"] or []),
        "tags": ", ".join(key["tags"]),
        "tier": key["tier"] or "",
    }


def described(key: Json) -> list[tuple[str, str]]:
    """What a person who looks at the key is told: a title and a sentence each."""
    scopes: list[str] = key["scopes"] or []
    logging: str = key["logging"]
    tier: str | None = key["tier"]
    return [
        ("Models", ", ".join(key["allowed_models"]) if key["allowed_models"] else "Every model of the project"),
        ("May", _sentence([SCOPES.get(each, each) for each in scopes]) if scopes else "Everything in the project"),
        ("Log", LOGGING.get(logging, logging)),
        ("Tags", ", ".join(key["tags"]) or "None"),
        ("Tier of rate limits", tier or "The project's"),
    ]


def _sentence(parts: list[str]) -> str:
    text = "; ".join(parts)
    return text[0].upper() + text[1:]


def _expiry(form: Mapping[str, Any]) -> dict[str, int | None]:
    if entered.text(form, "never_expires") == "true":
        return {"expires_in_seconds": None}
    seconds = entered.days(form, "expires_in_days")
    return {} if seconds is None else {"expires_in_seconds": seconds}
