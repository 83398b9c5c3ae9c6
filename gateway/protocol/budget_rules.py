"""What a budget must keep to. Each check raises InvalidRequest."""

import msgspec

from gateway.errors import InvalidRequest
from gateway.protocol.budgets import MOST_USD, THRESHOLDS, BudgetCreate, Scope
from gateway.protocol.usd import nano_of

LONGEST_NAME = 256
MOST_THRESHOLDS = 20


def check_limit(raw: msgspec.Raw) -> int:
    """Nano-dollars."""
    return nano_of(raw, "limit_usd", highest=MOST_USD)


def check_thresholds(percents: list[int] | None) -> list[int]:
    """Rising, each once."""
    if percents is None:
        return list(THRESHOLDS)
    for index, each in enumerate(percents):
        if not 1 <= each <= 100:
            raise _refused(f"thresholds[{index}]", f"a percent from 1 to 100 is expected, got {each}.")
    if len(percents) > MOST_THRESHOLDS:
        raise _refused("thresholds", f"at most {MOST_THRESHOLDS} are taken.")
    return sorted(set(percents))


def check_name(name: str | None) -> str | None:
    if name is not None and not 0 < len(name) <= LONGEST_NAME:
        raise _refused("name", f"a name has 1 to {LONGEST_NAME} characters.")
    return name


def scope_of(wanted: BudgetCreate) -> Scope:
    """Whom it is for, and that the ids fit."""
    least = "project" if wanted.project_id is not None else "organization"
    scope = wanted.scope or ("api_key" if wanted.api_key_id is not None else least)
    if scope != "api_key" and wanted.api_key_id is not None:
        raise _refused("api_key_id", f"a budget with scope {scope} is not of one key.")
    if scope == "organization" and wanted.project_id is not None:
        raise _refused("project_id", "a budget of the organization is not of one project.")
    if scope == "project" and wanted.project_id is None:
        raise _refused("project_id", "scope project needs the id of a project.")
    if scope == "api_key" and wanted.api_key_id is None:
        raise _refused("api_key_id", "scope api_key needs the id of a project's API key.")
    return scope


def _refused(param: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid '{param}': {rule}", param=param)
