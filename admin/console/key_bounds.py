"""The budget and the rate limits that a key is made with: three calls that are one for whoever fills in the form."""

from collections.abc import Mapping
from typing import Any

from admin.console import entered
from admin.console.api import Api, ApiRefused, Json, path_of
from admin.console.budget_form import wanted

LIMITS = {
    "max_requests_per_1_minute": "Requests a minute",
    "max_tokens_per_1_minute": "Tokens a minute",
    "max_requests_per_1_day": "Requests a day",
    "max_tokens_per_1_day": "Tokens a day",
    "max_concurrent_requests": "Calls at a time",
}
EVERY_MODEL = "rl-*"
"""The rate limit of all models together."""
UNLIMITED = 2**31 - 1
"""How the API says that there is no limit."""
BUDGET = "budget_"
"""How the fields of the budget begin."""


class NotTakenBack(Exception):
    """The key is there without its bounds, and could not be revoked; the message is a sentence."""


async def bind(api: Api, key: Json, form: Mapping[str, Any]) -> None:
    """Give a key that nobody has seen yet its budget and its limits, or revoke it again.

    Raises:
        ApiRefused: what was wrong with them; there is no such key any more.
        NotTakenBack: nor could it be revoked.
    """
    try:
        await _bind(api, key, form)
    except ApiRefused as refused:
        try:
            await api.delete(_path(api, "api_keys", key["id"]))
        except ApiRefused as failure:
            raise NotTakenBack(
                f"The key has no such limits ({refused}), and it could not be revoked either ({failure})."
            ) from None
        fields = {"limit_usd": f"{BUDGET}limit_usd", "period": f"{BUDGET}period"}
        raise entered.of_field(refused, **fields) from None


def limits(form: Mapping[str, Any]) -> dict[str, Any]:
    """Those that were filled in, as the API takes them."""
    found = {name: entered.whole(form, name) for name in LIMITS}
    return {name: value for name, value in found.items() if value is not None}


async def _bind(api: Api, key: Json, form: Mapping[str, Any]) -> None:
    if entered.text(form, f"{BUDGET}limit_usd"):
        whose = {"project_id": api.project_id, "api_key_id": key["id"]}
        await api.post("/budgets", wanted(form, BUDGET) | whose)
    if found := limits(form):
        await api.post(_path(api, "rate_limits", EVERY_MODEL), found, api_key_id=key["id"])


def _path(api: Api, *parts: str) -> str:
    return path_of("organization", "projects", api.project_id or "", *parts)
