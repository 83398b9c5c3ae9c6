"""The filters of the log: fields of a form, parameters of the page's URL, and what the API is asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from admin.console.api import ApiRefused

ASKED = {
    "q": "Words",
    "model": "Model",
    "outcome": "Outcome",
    "status": "Status",
    "judged_by": "Judged by",
    "passed": "Verdict",
    "criterion": "Criterion",
    "api_key_id": "Key",
    "route": "Route",
    "upstream": "Provider",
    "user": "User",
    "end_user": "User (hash)",
    "purpose": "Purpose",
    "streamed": "Streamed",
    "cache_hit": "From the cache",
    "error_code": "Error",
    "min_duration_ms": "At least ms",
    "min_cost_usd": "At least USD",
    "created_after": "From",
    "created_before": "Until",
}
"""Parameters that the API has by the same name -> what they are called on the page."""
TIMES = {"from": "created_after", "until": "created_before"}
"""Fields of the form in UTC -> the API's, in Unix seconds."""
METADATA = "metadata"
"""A field `key=value`, or the API's own `metadata[key]`."""
WORDS = {
    "outcome": {
        "completed": "completed",
        "client_left": "client left",
        "failed": "failed at the provider",
        "refused": "refused by us",
    },
    "judged_by": {"human": "a person", "rule": "a rule", "llm": "a model", "external": "another system"},
    "passed": {"true": "passed", "false": "failed"},
    "purpose": {"none": "applications", "judge": "judges", "eval": "evals", "guidance": "guidance"},
    "streamed": {"true": "yes", "false": "no"},
    "cache_hit": {"true": "yes", "false": "no"},
}
"""Values of a choice -> how they are shown."""
MOST_METADATA = 10


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter that is on."""

    name: str
    label: str
    text: str


def of_url(query: Mapping[str, str]) -> dict[str, str]:
    """The filters among a URL's parameters: what is kept in views and links."""
    known = {*ASKED, *TIMES, METADATA}
    return {name: value for name, value in query.items() if value and (name in known or _is_metadata(name))}


def asked(filters: Mapping[str, str]) -> dict[str, str]:
    """For GET /v1/exchanges. Raises ApiRefused: a field of the form cannot be understood."""
    found = {name: value for name, value in filters.items() if name in ASKED or _is_metadata(name)}
    for name, wanted in TIMES.items():
        if filters.get(name):
            found[wanted] = str(_second(name, filters[name]))
    if text := filters.get(METADATA):
        key, separator, value = text.partition("=")
        if not separator:
            raise ApiRefused(400, {"message": "Write metadata as key=value, as in team=support.", "param": METADATA})
        found[f"{METADATA}[{key.strip()}]"] = value.strip()
    return found


def chips(filters: Mapping[str, str]) -> Iterator[Chip]:
    for name, value in filters.items():
        if _is_metadata(name):
            yield Chip(name, name[len(METADATA) + 1 : -1], value)
        elif name in ("created_after", "created_before"):
            yield Chip(name, ASKED[name], _moment(value))
        elif name in TIMES:
            yield Chip(name, ASKED[TIMES[name]], f"{value.replace('T', ' ')} UTC")
        else:
            yield Chip(name, ASKED.get(name, "Metadata"), WORDS.get(name, {}).get(value, value))


def choices(name: str) -> list[tuple[str, str]]:
    """Of a field, with none as the first."""
    return [("", "any"), *WORDS[name].items()]


def _second(name: str, text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except (ValueError, OverflowError):
        message = f"Write the time as 2026-11-21T13:00 (UTC), not '{text[:50]}'."
        raise ApiRefused(400, {"message": message, "param": name}) from None


def _moment(text: str) -> str:
    """What is no time the API refuses; here it is shown as it is."""
    try:
        return datetime.fromtimestamp(int(text), UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return text


def _is_metadata(name: str) -> bool:
    return name.startswith(f"{METADATA}[") and name.endswith("]")


def began_at(exchange_id: str | None) -> int | None:
    """Unix second in which a call began: ids begin with it (they sort by time)."""
    digits = (exchange_id or "").removeprefix("req_")[:16]
    try:
        return int(digits, 16) // 10**9
    except ValueError:
        return None


def shown_filters(filters: Mapping[str, Any]) -> dict[str, str]:
    """Of a saved view: its texts."""
    return of_url({name: value for name, value in filters.items() if isinstance(value, str)})
