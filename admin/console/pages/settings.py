"""How the gateway is configured, and what of it runs: to be read; it is changed where it was started."""

from typing import Any

from litestar import Response, get

from admin.console.api import Json
from admin.console.page import CurrentPage

TITLES = {
    "": "In general",
    "database": "Database",
    "redis": "Redis",
    "engine": "Inference engine",
    "vllm": "Managed vLLM",
    "timeouts": "Timeouts",
    "exchanges": "Exchange log",
    "budgets": "Budgets",
    "files": "Files",
    "fine_tuning": "Fine-tuning",
    "grading": "Graders",
    "worker": "Workers",
    "feedback": "Feedback",
    "alerts": "Alerts",
    "retention": "Retention",
    "limits": "Rate limits",
    "routing": "Routing",
    "cache": "Response cache",
    "telemetry": "Traces",
    "console": "Console",
    "sign_in": "Sign-in",
    "oidc": "Single sign-on",
    "upstreams": "Providers",
    "routes": "Routes",
    "prices": "Prices",
    "tiers": "Tiers",
}
ELSEWHERE = {"upstreams": "/console/providers", "routes": "/console/routes", "prices": "/console/prices"}
"""Where those that were made through the API are."""
KEPT = {
    "exchange_bodies": "What was asked and answered in the log of calls",
    "exchanges": "The log of calls, with what was judged of them; usage and costs stay",
    "audit_log": "The audit log",
    "training_logs": "Logs and curves of trainings",
    "failed_job_files": "Files of a failed training",
    "unfinished_uploads": "Uploads that nobody completed",
    "webhook_deliveries": "Deliveries of webhooks",
    "ended_sessions": "Sessions that are over (then until the next sign-in)",
    "finished_judging": "What judges have done, beside the judgments",
}
STATES = {"up": "good", "down": "bad", "asleep": "plain", "unknown": "warn"}


@get("/settings")
async def show_settings(page: CurrentPage) -> Response[str]:
    """Filters are in the URL: `changed`, and `q`, a word of names or meanings."""
    told = await page.api.get("/organization/settings")
    word, only_changed = page.query("q").strip(), page.query("changed") == "true"
    return page.show(
        "settings.html",
        told=told,
        sections_told=[found for each in told["sections"] if (found := _found(each, word.lower(), only_changed))],
        elsewhere=ELSEWHERE,
        states=STATES,
        kept=[(KEPT.get(each["what"], each["what"]), each["seconds"]) for each in told["kept"]],
        word=word,
        only_changed=only_changed,
    )


def _found(section: Json, word: str, only_changed: bool) -> dict[str, Any] | None:
    """What of a section the filters let through; None: nothing."""
    rows = [
        each
        for each in section["settings"]
        if (each["changed"] or not only_changed)
        and word in f"{section['name']}.{each['name']} {each['meaning']}".lower()
    ]
    if not rows and (word or only_changed or section["settings"]):
        return None
    name = section["name"]
    table = f"[[{name}]]" if section["listed"] else f"[{name}]" if name else ""
    shown = [each | {"text": text_of(each["value"]), "default_text": text_of(each["default"])} for each in rows]
    return section | {"title": TITLES.get(name, name), "table": table, "settings": shown}


def text_of(value: Any) -> str:
    """As in a configuration file; empty where nothing is set."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list():
            return ", ".join(map(_part, value))  # type: ignore[arg-type]
        case dict():
            return ", ".join(f"{name} = {_part(each)}" for name, each in value.items() if each not in (None, [], {}))  # type: ignore[misc]
        case _:
            return str(value)


def _part(value: Any) -> str:
    """Of a list or table."""
    if isinstance(value, list):
        return f"[{text_of(value)}]"
    return f"{{ {text_of(value)} }}" if isinstance(value, dict) else text_of(value)
